/* A disk that keeps a diary, and fails when it is told to; preloaded into a program.

   It stands for the files below $DISK_UNDER. What changes them goes to $DISK_DIARY in order, so that what a power cut may
   leave can be worked out at each point. $DISK_CONTROL, shared memory, says what fails from which call on, and counts.
   A sync here only takes its time: the diary is the disk. See disk.py, which reads and steers it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 65536

enum { WRITES, SYNCS, READS, FIRST_FAULT }; /* each with: from which call, until which, and with what errno */
struct control {
    int64_t calls[3];
    struct { int64_t from, until, error; } fault[3];
    int64_t sync_us, length, die_at, failed;
};
struct entry { /* of the diary; the name and the data follow */
    int64_t kind, file, offset, began, name, data;
};
struct file { int64_t ino; char *name; int is_directory; };

static struct file files[FILES];
static struct control *control;
static const char *under;
static size_t under_length;
static int diary = -1;
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ({ \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    real; \
})

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_CONTROL");
    under = getenv("DISK_UNDER");
    if (!path || !under) return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    if (control == MAP_FAILED) abort();
    diary = REAL(open)(getenv("DISK_DIARY"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    under_length = strlen(under);
}

static int ours(const char *path) {
    return control && !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

static int is_file(int fd) { return fd >= 0 && fd < FILES && files[fd].name && !files[fd].is_directory; }

/* Whether a call of that kind fails, in which case errno says so. */
static int fails(int kind) {
    int64_t now = __atomic_add_fetch(&control->calls[kind], 1, __ATOMIC_SEQ_CST);
    if (!control->fault[kind].error || now < control->fault[kind].from || now >= control->fault[kind].until) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)control->fault[kind].error;
    return 1;
}

static void note(char kind, int64_t file, int64_t offset, int64_t began, const char *name, size_t names, const void *data,
                 size_t size) {
    struct entry entry = {kind, file, offset, began, (int64_t)names, (int64_t)size};
    int before = errno;
    char *all = malloc(sizeof entry + names + size);
    memcpy(all, &entry, sizeof entry);
    if (names) memcpy(all + sizeof entry, name, names);
    if (size && data) memcpy(all + sizeof entry + names, data, size);
    ssize_t length = (ssize_t)(sizeof entry + names + size);
    if (REAL(write)(diary, all, (size_t)length) != length) abort();
    free(all);
    int64_t now = __atomic_add_fetch(&control->length, length, __ATOMIC_SEQ_CST);
    if (control->die_at && now >= control->die_at) kill(getpid(), SIGKILL);
    errno = before;
}

static char *whole(int at, const char *path, char *room) {
    if (path[0] == '/' || at == AT_FDCWD || at < 0 || at >= FILES || !files[at].name) return (char *)path;
    snprintf(room, PATH_MAX, "%s/%s", files[at].name, path);
    return room;
}

static int opened(int at, const char *given, int flags, mode_t mode) {
    char room[PATH_MAX];
    const char *path = whole(at, given, room);
    if (!ours(path)) return REAL(openat)(at, given, flags, mode);
    pthread_mutex_lock(&busy);
    int is_new = (flags & O_CREAT) && access(path, F_OK);
    int changes = is_new || (control->fault[WRITES].error == EROFS && (flags & O_ACCMODE) != O_RDONLY);
    int fd = -1;
    if (!changes || !fails(WRITES)) fd = REAL(openat)(at, given, flags, mode);
    struct stat st;
    if (fd >= 0 && fd < FILES && !fstat(fd, &st)) {
        files[fd] = (struct file){(int64_t)st.st_ino, strdup(path), S_ISDIR(st.st_mode)};
        if (is_new) note('C', files[fd].ino, 0, 0, path, strlen(path), NULL, 0);
        else if (flags & O_TRUNC) note('T', files[fd].ino, 0, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&busy);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }

int close(int fd) {
    if (control && fd >= 0 && fd < FILES && files[fd].name) {
        pthread_mutex_lock(&busy);
        free(files[fd].name);
        files[fd].name = NULL;
        pthread_mutex_unlock(&busy);
    }
    return REAL(close)(fd);
}

static ssize_t put(int fd, const void *data, size_t size, off64_t offset) {
    if (fails(WRITES)) return -1;
    pthread_mutex_lock(&busy);
    ssize_t done = REAL(pwrite64)(fd, data, size, offset);
    if (done > 0) note('W', files[fd].ino, offset, 0, NULL, 0, data, (size_t)done);
    pthread_mutex_unlock(&busy);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return is_file(fd) ? put(fd, data, size, offset) : REAL(pwrite)(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return is_file(fd) ? put(fd, data, size, offset) : REAL(pwrite64)(fd, data, size, offset);
}
ssize_t write(int fd, const void *data, size_t size) {
    if (!is_file(fd)) return REAL(write)(fd, data, size);
    off64_t offset = lseek64(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = put(fd, data, size, offset);
    if (done > 0) lseek64(fd, offset + done, SEEK_SET);
    return done;
}

static int cut(int fd, off64_t length) {
    if (fails(WRITES)) return -1;
    pthread_mutex_lock(&busy);
    int done = REAL(ftruncate64)(fd, length);
    if (!done) note('T', files[fd].ino, length, 0, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&busy);
    return done;
}
int ftruncate(int fd, off_t length) { return is_file(fd) ? cut(fd, length) : REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { return is_file(fd) ? cut(fd, length) : REAL(ftruncate64)(fd, length); }
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!is_file(fd)) return REAL(fallocate)(fd, mode, offset, length);
    errno = EOPNOTSUPP; /* then it is written, which the diary knows */
    return -1;
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    return is_file(fd) ? EOPNOTSUPP : REAL(posix_fallocate)(fd, offset, length);
}

static int sync_it(int fd) {
    int64_t began = __atomic_load_n(&control->length, __ATOMIC_SEQ_CST);
    int failed = fails(SYNCS), why = errno;
    if (control->sync_us) usleep((useconds_t)control->sync_us);
    pthread_mutex_lock(&busy);
    const char *name = files[fd].is_directory ? files[fd].name : "";
    note(failed ? 'F' : files[fd].is_directory ? 'D' : 'S', files[fd].ino, 0, began, name, strlen(name), NULL, 0);
    pthread_mutex_unlock(&busy);
    errno = why;
    return failed ? -1 : 0;
}
static int is_ours(int fd) { return fd >= 0 && fd < FILES && files[fd].name; }
int fsync(int fd) { return is_ours(fd) ? sync_it(fd) : REAL(fsync)(fd); }
int fdatasync(int fd) { return is_ours(fd) ? sync_it(fd) : REAL(fdatasync)(fd); }

ssize_t read(int fd, void *to, size_t size) {
    return is_file(fd) && fails(READS) ? -1 : REAL(read)(fd, to, size);
}
ssize_t pread(int fd, void *to, size_t size, off_t offset) {
    return is_file(fd) && fails(READS) ? -1 : REAL(pread)(fd, to, size, offset);
}
ssize_t pread64(int fd, void *to, size_t size, off64_t offset) {
    return is_file(fd) && fails(READS) ? -1 : REAL(pread64)(fd, to, size, offset);
}

/* What changes names: the diary has the name, and for a move or a link the other one as its data. */
static int named(char kind, const char *name, const char *other, int done) {
    if (!done) note(kind, 0, 0, 0, name, strlen(name), other, other ? strlen(other) : 0);
    return done;
}
#define CHANGES(kind, path, other, call) \
    if (!ours(path)) return call; \
    pthread_mutex_lock(&busy); \
    int done = named(kind, path, other, call); \
    pthread_mutex_unlock(&busy); \
    return done;
int rename(const char *from, const char *to) { CHANGES('R', from, to, REAL(rename)(from, to)) }
int link(const char *from, const char *to) { CHANGES('L', from, to, REAL(link)(from, to)) }
int unlink(const char *path) { CHANGES('U', path, NULL, REAL(unlink)(path)) }
int rmdir(const char *path) { CHANGES('U', path, NULL, REAL(rmdir)(path)) }
int unlinkat(int at, const char *given, int flags) {
    char room[PATH_MAX];
    const char *path = whole(at, given, room);
    CHANGES('U', path, NULL, REAL(unlinkat)(at, given, flags))
}
int mkdir(const char *path, mode_t mode) {
    if (ours(path) && access(path, F_OK) && fails(WRITES)) return -1;
    CHANGES('M', path, NULL, REAL(mkdir)(path, mode))
}
