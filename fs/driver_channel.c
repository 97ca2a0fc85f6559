/* What libfuse 3.14 does not say to the kernel, said beside it: FUSE_HANDLE_KILLPRIV_V2 (Linux 5.11; linux/fuse.h).
 *
 * With it the driver takes S_ISUID and S_ISGID away where a request says so. Without it the kernel has to know before each
 * write(2) whether the file has file capabilities, which it asks for as an extended attribute and does not remember: a second
 * round trip for each write (fs/fuse/file.c, fuse_cache_write_iter; fs/inode.c, file_remove_privs).
 *
 * All that passes goes through libfuse as it is, but for one bit in the answer to FUSE_INIT. What a request says of these bits
 * is kept for the thread that read it, for that one serves it.
 *
 * Non-goal: anything that libfuse can do. */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/driver.h"
#include "fs/driver_core.h"
#include "fs/fs.h"

static _Thread_local bool kills; /* the request that this thread serves */

bool driver_kills_privileges(void)
{
	return kills;
}

/* The body of a request, as far as it is there. */
static bool body(const uint8_t *p, size_t n, void *ret, size_t want)
{
	if (n < sizeof(struct fuse_in_header) + want)
		return false;
	memcpy(ret, p + sizeof(struct fuse_in_header), want);
	return true;
}

static bool says_kill(const struct fuse_in_header *in, const uint8_t *p, size_t n)
{
	struct fuse_write_in write;
	struct fuse_setattr_in setattr;
	struct fuse_open_in open;

	switch (in->opcode) {
	case FUSE_WRITE:
		return body(p, n, &write, sizeof(write)) && write.write_flags & FUSE_WRITE_KILL_SUIDGID;
	case FUSE_SETATTR:
		return body(p, n, &setattr, sizeof(setattr)) && setattr.valid & FATTR_KILL_SUIDGID;
	case FUSE_OPEN:
		return body(p, n, &open, sizeof(open)) && open.open_flags & FUSE_OPEN_KILL_SUIDGID;
	case FUSE_FALLOCATE:
		return true; /* has no such flag */
	}
	return false;
}

static ssize_t channel_read(int fd, void *p, size_t n, void *userdata)
{
	struct fs *fs = userdata;
	ssize_t got = read(fd, p, n);
	struct fuse_in_header in;
	struct fuse_init_in init;

	kills = false;
	if (got < (ssize_t)sizeof(in))
		return got;
	memcpy(&in, p, sizeof(in));
	if (in.opcode == FUSE_INIT && body(p, (size_t)got, &init, sizeof(init)) &&
		init.flags & FUSE_HANDLE_KILLPRIV_V2)
		atomic_store(&fs->init_request, in.unique);
	else
		kills = says_kill(&in, p, (size_t)got);
	return got;
}

/* libfuse's first piece is the header of the answer, the second its body (fuse_lowlevel.c, fuse_send_reply_iov_nofree). */
static ssize_t channel_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fs *fs = userdata;
	struct fuse_out_header out;
	struct fuse_init_out init;
	struct iovec answer[2];
	uint64_t request = atomic_load_explicit(&fs->init_request, memory_order_relaxed);

	if (!request || count != 2 || iov[0].iov_len != sizeof(out) || iov[1].iov_len != sizeof(init))
		return writev(fd, iov, count);
	memcpy(&out, iov[0].iov_base, sizeof(out));
	if (out.unique != request || out.error)
		return writev(fd, iov, count);
	memcpy(&init, iov[1].iov_base, sizeof(init));
	init.flags |= FUSE_HANDLE_KILLPRIV_V2;
	answer[0] = iov[0];
	answer[1] = (struct iovec){.iov_base = &init, .iov_len = sizeof(init)};
	atomic_store(&fs->init_request, 0);
	return writev(fd, answer, 2);
}

int driver_channel(void *session)
{
	static const struct fuse_custom_io io = {.read = channel_read, .writev = channel_writev};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
