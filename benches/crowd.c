/* The client of the open-ended load: PORT CONNECTIONS ACTIVE NOISY SECONDS SEED SIZE...
 *
 * Opens CONNECTIONS and keeps ACTIVE requests under way, each on a connection that chance picks among
 * those without one, each of one of the SIZEs in bytes. NOISY connections more send as fast as the
 * server reads and drop what comes back. After a second of warming up, SECONDS are measured, from
 * the sending of a request to the last byte of its answer. Prints, as JSON, requests per second and
 * the latencies of the 50th, 99th and 99.9th of a hundred in microseconds, by a histogram whose
 * steps are 2 %.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, SIZES = 16, STEPS = 1200, EVENTS = 1024 };

struct connection {
    int fd, noisy, watched_for_room;
    size_t size, to_send, to_come;
    double asked;
};

static int epoll, connections, noisy, idle_count, sizes_count;
static int *idle;
static size_t sizes[SIZES];
static struct connection *all;
static long histogram[STEPS], answers;
static char room[ROOM], message[ROOM];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct connection *c, int how, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &event) < 0) fail("epoll_ctl");
}

static void open_one(struct connection *c, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) fail("socket");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (ioctl(c->fd, FIONBIO, &yes) < 0) fail("ioctl");
    watch(c, EPOLL_CTL_ADD, c->noisy ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_more(struct connection *c) {
    do {
        ssize_t sent = send(c->fd, message, c->noisy ? 1024 : c->to_send, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) fail("send");
        if (sent < 0) break;
        if (!c->noisy) c->to_send -= (size_t)sent;
    } while (!c->noisy && c->to_send > 0);
    int waits = c->noisy || c->to_send > 0;
    if (waits != c->watched_for_room && !c->noisy) watch(c, EPOLL_CTL_MOD, EPOLLIN | (waits ? EPOLLOUT : 0u));
    c->watched_for_room = waits;
}

static void ask(void) {
    int place = (int)(random() % idle_count), i = idle[place];
    idle[place] = idle[--idle_count];
    struct connection *c = &all[i];
    c->size = c->to_send = c->to_come = sizes[random() % sizes_count];
    c->asked = now();
    send_more(c);
}

/* Steps of 2 %, from a microsecond on. */
static void note(double seconds) {
    int step = (int)(log(seconds * 1e6) / log(1.02));
    histogram[step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step]++;
    answers++;
}

static double percentile(double share) {
    long left = (long)(share * (double)answers);
    for (int step = 0; step < STEPS; step++)
        if ((left -= histogram[step]) < 0) return pow(1.02, step + 1);
    return 0;
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->fd, room, ROOM, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("recv");
    if (c->noisy || (c->to_come -= (size_t)got) > 0) return;
    note(now() - c->asked);
    idle[idle_count++] = (int)(c - all);
    ask();
}

static void go_on(double seconds) {
    double end = now() + seconds;
    struct epoll_event events[EVENTS];
    while (now() < end) {
        int ready = epoll_wait(epoll, events, EVENTS, 0);
        for (int k = 0; k < ready; k++) {
            struct connection *c = events[k].data.ptr;
            if (events[k].events & EPOLLOUT) send_more(c);
            if (events[k].events & ~(unsigned)EPOLLOUT) receive(c);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 8 || argc > 7 + SIZES) return 2;
    int active = atoi(argv[3]);
    double seconds = atof(argv[5]);
    connections = atoi(argv[2]);
    noisy = atoi(argv[4]);
    srandom((unsigned)atoi(argv[6]));
    for (int k = 7; k < argc; k++) sizes[sizes_count++] = strtoul(argv[k], NULL, 10);
    if (active > connections) return 2;
    memset(message, 'x', sizeof message);
    all = calloc((size_t)(connections + noisy), sizeof *all);
    idle = calloc((size_t)connections, sizeof *idle);
    if ((epoll = epoll_create1(0)) < 0) fail("epoll_create1");
    for (int i = 0; i < connections + noisy; i++) {
        all[i].noisy = i >= connections;
        open_one(&all[i], atoi(argv[1]));
        if (i < connections) idle[idle_count++] = i;
    }
    for (int i = 0; i < active; i++) ask();
    go_on(1);
    memset(histogram, 0, sizeof histogram);
    answers = 0;
    go_on(seconds);
    printf("{\"per_second\": %.0f, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f}\n", (double)answers / seconds,
           percentile(0.5), percentile(0.99), percentile(0.999));
    return 0;
}
