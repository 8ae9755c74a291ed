/* The client of the echo rows: PORT CONNECTIONS REQUESTS SERVER_PID PAUSE_US.
 *
 * Keeps one message of 1 KB under way on each connection, after a warm-up of a tenth of the
 * requests. Prints, as JSON, the server's CPU time for a request in microseconds, and how often it
 * went to sleep for a request: a server that is kept busy hardly does. PAUSE_US is how long the
 * client thinks between an answer and the next request. It never sleeps itself: one that does adds
 * its own waking up to what the server waits. In C, because a client in Python is slower than the
 * servers it measures.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 1024, MAX = 1024 };

static int epoll, count, socks[MAX];
static double pause_seconds;
static long to_come[MAX]; /* of the answer, in bytes */
static char message[MESSAGE], answer[MESSAGE];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) < 0) fail("clock_gettime");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* How often the server went to sleep for want of work. */
static long sleeps(const char *pid) {
    char path[64], line[256];
    long found = 0;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    while (fgets(line, sizeof line, file)) sscanf(line, "voluntary_ctxt_switches: %ld", &found);
    fclose(file);
    return found;
}

static void open_connections(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((epoll = epoll_create1(0)) < 0) fail("epoll_create1");
    for (int i = 0; i < count; i++) {
        int yes = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)i};
        if ((socks[i] = socket(AF_INET, SOCK_STREAM, 0)) < 0) fail("socket");
        if (connect(socks[i], (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        setsockopt(socks[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, socks[i], &event) < 0) fail("epoll_ctl");
    }
}

static void ask(int i) {
    /* A socket with nothing under way has room for one message. */
    if (send(socks[i], message, MESSAGE, 0) != MESSAGE) fail("send");
    to_come[i] = MESSAGE;
}

static void exchange(long requests) {
    struct epoll_event events[MAX];
    long to_ask = requests;
    for (int i = 0; i < count && to_ask > 0; i++, to_ask--) ask(i);
    for (long answers = 0; answers < requests;) {
        int ready = epoll_wait(epoll, events, MAX, 0);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        for (int k = 0; k < ready; k++) {
            int i = (int)events[k].data.u32;
            long got = recv(socks[i], answer, (size_t)to_come[i], 0);
            if (got <= 0) fail("recv");
            if ((to_come[i] -= got) > 0) continue;
            answers++;
            if (pause_seconds > 0) {
                double until = seconds(CLOCK_MONOTONIC) + pause_seconds;
                while (seconds(CLOCK_MONOTONIC) < until) continue;
            }
            if (to_ask > 0) {
                to_ask--;
                ask(i);
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    long requests = atol(argv[3]);
    /* Linux makes the number of another process's CPU clock from its pid. */
    clockid_t server = (clockid_t)(~(unsigned)atoi(argv[4]) << 3 | 2);
    count = atoi(argv[2]);
    if (count < 1 || count > MAX) return 2;
    pause_seconds = atof(argv[5]) / 1e6;
    memset(message, 'x', MESSAGE);
    open_connections(atoi(argv[1]));
    exchange(requests / 10);
    double cpu = seconds(server);
    long slept = sleeps(argv[4]);
    exchange(requests);
    cpu = seconds(server) - cpu;
    slept = sleeps(argv[4]) - slept;
    printf("{\"us\": %.4f, \"sleeps\": %.4f}\n", cpu / (double)requests * 1e6, (double)slept / (double)requests);
    return 0;
}
