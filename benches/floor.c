/* The floor under the socket rows: KIND [PATH | CERTIFICATE KEY], an echo server that does the work and nothing else.
 *
 * KIND is tcp, udp, unix (at PATH) or tls. One thread, epoll, level-triggered, a descriptor registered
 * once; what is read is sent back at once, and what does not fit when the socket takes it. Prints its
 * port or path. A loop that calls into Python for each message cannot be below it by much.
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
#include <sys/un.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

enum { EVENTS = 1024, ROOM = 256 * 1024 };

struct connection {
    int fd;
    char *kept; /* what the socket would not take, and from where */
    size_t kept_from, kept_to;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static int epoll;
static char room[ROOM];
#ifdef WITH_TLS
static SSL_CTX *context;
#endif

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct connection *c, int how, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &event) < 0) fail("epoll_ctl");
}

static void finish(struct connection *c) {
#ifdef WITH_TLS
    if (c->tls) SSL_free(c->tls);
#endif
    close(c->fd);
    free(c->kept);
    free(c);
}

static ssize_t put(struct connection *c, const char *from, size_t length) {
#ifdef WITH_TLS
    if (c->tls) {
        int sent = SSL_write(c->tls, from, (int)length);
        if (sent <= 0) errno = EAGAIN;
        return sent > 0 ? sent : -1;
    }
#endif
    return send(c->fd, from, length, MSG_NOSIGNAL);
}

static ssize_t get(struct connection *c, char *to, size_t length) {
#ifdef WITH_TLS
    if (c->tls) {
        int got = SSL_read(c->tls, to, (int)length);
        if (got > 0) return got;
        errno = EAGAIN;
        return SSL_get_error(c->tls, got) == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    return recv(c->fd, to, length, 0);
}

/* Sends; what does not fit is kept, and nothing is read meanwhile. */
static void echo(struct connection *c, const char *from, size_t length) {
    while (length > 0) {
        ssize_t sent = put(c, from, length);
        if (sent < 0) break;
        from += sent;
        length -= (size_t)sent;
    }
    if (length == 0) return;
    if (!c->kept) c->kept = malloc(ROOM);
    memmove(c->kept, from, length);
    c->kept_from = 0;
    c->kept_to = length;
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void send_kept(struct connection *c) {
    ssize_t sent = put(c, c->kept + c->kept_from, c->kept_to - c->kept_from);
    if (sent > 0) c->kept_from += (size_t)sent;
    if (c->kept_from == c->kept_to) watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void readable(struct connection *c) {
    int more;
    do {
        ssize_t got = get(c, room, ROOM);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return finish(c);
        if (got < 0) return;
        echo(c, room, (size_t)got);
        more = 0;
#ifdef WITH_TLS
        more = c->tls && SSL_pending(c->tls); /* which epoll does not know of */
#endif
    } while (more);
}

static void accept_all(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
#ifdef WITH_TLS
        if (context) {
            c->tls = SSL_new(context);
            SSL_set_fd(c->tls, fd);
            SSL_set_accept_state(c->tls);
        }
#endif
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void echo_datagrams(int fd) {
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fd, room, ROOM, 0, (struct sockaddr *)&from, &length);
    if (got >= 0) sendto(fd, room, (size_t)got, 0, (struct sockaddr *)&from, length);
}

static int listening(int udp, const char *local) {
    struct sockaddr_in ip = {.sin_family = AF_INET};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    socklen_t length = sizeof ip;
    ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (local) strncpy(path.sun_path, local, sizeof path.sun_path - 1);
    int fd = socket(local ? AF_UNIX : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    if (bind(fd, local ? (void *)&path : (void *)&ip, local ? sizeof path : sizeof ip) < 0) fail("bind");
    if (!udp && listen(fd, 1024) < 0) fail("listen");
    if (local) {
        printf("%s\n", local);
    } else {
        getsockname(fd, (struct sockaddr *)&ip, &length);
        printf("%d\n", ntohs(ip.sin_port));
    }
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    int udp = strcmp(argv[1], "udp") == 0, local = strcmp(argv[1], "unix") == 0;
    if (local && argc != 3) return 2;
    if (strcmp(argv[1], "tls") == 0) {
#ifdef WITH_TLS
        if (argc != 4) return 2;
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1) return 1;
        if (SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1) return 1;
#else
        fprintf(stderr, "compiled without OpenSSL\n");
        return 1;
#endif
    }
    if ((epoll = epoll_create1(0)) < 0) fail("epoll_create1");
    struct connection listener = {.fd = listening(udp, local ? argv[2] : NULL)};
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int k = 0; k < ready; k++) {
            struct connection *c = events[k].data.ptr;
            if (c == &listener) udp ? echo_datagrams(c->fd) : accept_all(c->fd);
            else if (events[k].events & EPOLLOUT) send_kept(c);
            else readable(c);
        }
    }
}
