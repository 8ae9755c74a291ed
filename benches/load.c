/* The client of the socket rows: KIND ADDRESS CONNECTIONS REQUESTS SIZE SERVER_PID PAUSE_US [fresh]
 *
 * KIND is tcp, udp, unix, tls, http, connect or idle; ADDRESS a port of 127.0.0.1, or a path for
 * unix. Keeps one message of SIZE bytes under way on each connection (http: a GET, and its answer of
 * whatever length), after a warm-up of a tenth of the requests. connect opens a connection for each
 * message. Unless fresh, a first set of connections has come and gone before the warm-up: a server
 * that has seen one end may have its memory in another state than one that has not.
 *
 * Prints, as JSON, the server's CPU time for a request in microseconds, and how often it went to
 * sleep for a request: a server that is kept busy hardly does. PAUSE_US is how long the client
 * thinks between an answer and the next request. It never sleeps itself: one that does adds its own
 * waking up to what the server waits. In C, because a client in Python is slower than the servers
 * it measures.
 *
 * idle measures nothing: it opens CONNECTIONS for each line that it reads, sends nothing, and keeps
 * them until there are no more lines.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

enum { MAX = 1024, ROOM = 256 * 1024, PATIENCE = 60 /* seconds without any answer */ };

struct connection {
    int fd;
    size_t to_send, to_come; /* of the message, of the answer; http knows the latter when it has the head */
    size_t head;             /* http: how much of the head there is */
    int waits_to_send;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static const char GET[] = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";

static const char *kind, *address;
static int epoll, count;
static double pause_seconds;
static size_t size;
static struct connection all[MAX];
static char heads[MAX][4096];
static char message[ROOM], answer[ROOM];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void refuse(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static int is(const char *name) { return strcmp(kind, name) == 0; }

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

/* --- connections ------------------------------------------------------------------------------ */

static int connected(void) {
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(address))};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    int local = is("unix"), yes = 1;
    ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    strncpy(path.sun_path, address, sizeof path.sun_path - 1);
    int fd = socket(local ? AF_UNIX : AF_INET, is("udp") ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    const struct sockaddr *to = local ? (void *)&path : (void *)&ip;
    if (connect(fd, to, local ? sizeof path : sizeof ip) < 0) fail("connect");
    if (!local && !is("udp")) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

static void watch(struct connection *c, int how, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &event) < 0) fail("epoll_ctl");
}

#ifdef WITH_TLS
static void shake_hands(struct connection *c) {
    static SSL_CTX *context;
    if (!context) {
        if (!(context = SSL_CTX_new(TLS_client_method()))) refuse("SSL_CTX_new");
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    c->tls = SSL_new(context);
    SSL_set_fd(c->tls, c->fd);
    if (SSL_connect(c->tls) != 1) refuse("SSL_connect");
}
#endif

static void open_one(struct connection *c) {
    memset(c, 0, sizeof *c);
    c->fd = connected();
#ifdef WITH_TLS
    if (is("tls")) shake_hands(c);
#endif
    int flags = 1;
    if (ioctl(c->fd, FIONBIO, &flags) < 0) fail("ioctl");
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_one(struct connection *c) {
#ifdef WITH_TLS
    if (c->tls) {
        SSL_shutdown(c->tls);
        SSL_free(c->tls);
    }
#endif
    close(c->fd);
}

/* --- messages ---------------------------------------------------------------------------------- */

/* -1 with EAGAIN where there is nothing to be done now. */
static ssize_t put(struct connection *c, const char *from, size_t length) {
#ifdef WITH_TLS
    if (c->tls) {
        int sent = SSL_write(c->tls, from, (int)length);
        if (sent > 0) return sent;
        int why = SSL_get_error(c->tls, sent);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) refuse("SSL_write");
        errno = EAGAIN;
        return -1;
    }
#endif
    return send(c->fd, from, length, MSG_NOSIGNAL);
}

static ssize_t get(struct connection *c, char *to, size_t length) {
#ifdef WITH_TLS
    if (c->tls) {
        int got = SSL_read(c->tls, to, (int)length);
        if (got > 0) return got;
        if (SSL_get_error(c->tls, got) != SSL_ERROR_WANT_READ) refuse("SSL_read");
        errno = EAGAIN;
        return -1;
    }
#endif
    return recv(c->fd, to, length, 0);
}

static void send_rest(struct connection *c) {
    size_t whole = is("http") ? sizeof GET - 1 : size;
    const char *from = is("http") ? GET : message;
    while (c->to_send > 0) {
        ssize_t sent = put(c, from + whole - c->to_send, c->to_send);
        if (sent < 0 && errno != EAGAIN) fail("send");
        if (sent < 0) break;
        c->to_send -= (size_t)sent;
    }
    int waits = c->to_send > 0;
    if (waits != c->waits_to_send) watch(c, EPOLL_CTL_MOD, EPOLLIN | (waits ? EPOLLOUT : 0u));
    c->waits_to_send = waits;
}

static void ask(struct connection *c) {
    if (is("connect")) open_one(c);
    c->to_send = is("http") ? sizeof GET - 1 : size;
    c->to_come = is("http") ? 0 : size;
    send_rest(c);
}

/* Takes the head of an HTTP answer, up to where the body begins; knows then how much is to come. */
static void read_head(struct connection *c) {
    char *head = heads[c - all], *end;
    ssize_t got = get(c, head + c->head, sizeof heads[0] - 1 - c->head);
    if (got <= 0) fail("recv");
    c->head += (size_t)got;
    head[c->head] = 0;
    if (!(end = strstr(head, "\r\n\r\n"))) return;
    const char *length = strcasestr(head, "\r\ncontent-length:");
    if (!length || length > end || strncmp(head, "HTTP/1.1 200", 12)) refuse(head);
    c->to_come = strtoul(length + 17, NULL, 10) - (c->head - (size_t)(end + 4 - head));
    c->head = 0;
}

/* Takes what has come; true if the answer is whole. */
static int receive(struct connection *c) {
    if (is("http") && c->to_come == 0) {
        read_head(c);
        return c->head == 0 && c->to_come == 0;
    }
    do {
        ssize_t got = get(c, answer, c->to_come < ROOM ? c->to_come : ROOM);
        if (got < 0 && errno == EAGAIN) return 0;
        if (got < 0) fail("recv");
        if (got == 0) refuse("the server has closed a connection");
        c->to_come -= (size_t)got;
    } while (c->to_come > 0 && is("tls")); /* OpenSSL may hold what epoll does not know of */
    return c->to_come == 0;
}

static void exchange(long requests) {
    struct epoll_event events[MAX];
    long to_ask = requests;
    double last = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < count && to_ask > 0; i++, to_ask--) ask(&all[i]);
    for (long answers = 0; answers < requests;) {
        int ready = epoll_wait(epoll, events, MAX, 0);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        if (ready > 0) last = seconds(CLOCK_MONOTONIC);
        else if (seconds(CLOCK_MONOTONIC) > last + PATIENCE) refuse("the server does not answer");
        for (int k = 0; k < ready; k++) {
            struct connection *c = events[k].data.ptr;
            if (events[k].events & EPOLLOUT) send_rest(c);
            if (!(events[k].events & ~(unsigned)EPOLLOUT) || !receive(c)) continue;
            answers++;
            if (is("connect")) close_one(c);
            if (pause_seconds > 0) {
                double until = seconds(CLOCK_MONOTONIC) + pause_seconds;
                while (seconds(CLOCK_MONOTONIC) < until) continue;
            }
            if (to_ask > 0) {
                to_ask--;
                ask(c);
            }
        }
    }
}

static void open_all(void) {
    if (is("connect")) return;
    for (int i = 0; i < count; i++) open_one(&all[i]);
}

static void close_all(void) {
    if (is("connect")) return;
    for (int i = 0; i < count; i++) close_one(&all[i]);
}

static int keep_idle(void) {
    int c;
    while ((c = getchar()) != EOF)
        if (c == '\n')
            for (int i = 0; i < count; i++) connected();
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    kind = argv[1];
    address = argv[2];
    count = atoi(argv[3]);
    if (is("idle")) return keep_idle();
    if (argc != 8 && argc != 9) return 2;
    long requests = atol(argv[4]);
    size = strtoul(argv[5], NULL, 10);
    /* Linux makes the number of another process's CPU clock from its pid. */
    clockid_t server = (clockid_t)(~(unsigned)atoi(argv[6]) << 3 | 2);
    pause_seconds = atof(argv[7]) / 1e6;
    if (count < 1 || count > MAX || size < 1 || size > ROOM) return 2;
#ifndef WITH_TLS
    if (is("tls")) refuse("compiled without OpenSSL");
#endif
    memset(message, 'x', sizeof message);
    if ((epoll = epoll_create1(0)) < 0) fail("epoll_create1");
    if (argc == 8) {
        open_all();
        exchange(count);
        close_all();
    }
    open_all();
    exchange(requests / 10 > count ? requests / 10 : count);
    double cpu = seconds(server);
    long slept = sleeps(argv[6]);
    exchange(requests);
    cpu = seconds(server) - cpu;
    slept = sleeps(argv[6]) - slept;
    printf("{\"us\": %.4f, \"sleeps\": %.4f}\n", cpu / (double)requests * 1e6, (double)slept / (double)requests);
    return 0;
}
