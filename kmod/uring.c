// SPDX-License-Identifier: GPL-2.0-only
/*
 * The io_uring door: the commands of the table, and READ and WRITE.
 */
#include "homi.h"

/* The bits of sqe->uring_cmd_flags that a caller may set */
#define HOMI_URING_USER_FLAGS	0xffffff

/**
 * homi_uring_end - a command is over
 * @cmd: the command; not to be used any more
 * @ret: its result
 * @issue_flags: of the context, which may be that of its task
 *
 * What is refused of READ and WRITE is noted here, wherever it was found out;
 * commands of the table were looked at there.
 */
void homi_uring_end(struct io_uring_cmd *cmd, long ret, unsigned int issue_flags)
{
	struct homi_ctx *ctx = cmd->file->private_data;

	if (ret == -EOPNOTSUPP &&
	    (cmd->cmd_op == HOMI_READ || cmd->cmd_op == HOMI_WRITE))
		homi_refused(ctx->ctrl, cmd->cmd_op, ret, HOMI_REASON_NONE);
	homi_uring_done(cmd, ret, issue_flags);
}

/*
 * EAGAIN in the submitter has io_uring ask again in a worker; there it is the answer
 * of the command, and no reason to ask once more. What is positive is not handed on
 * by all versions that return it.
 */
static int homi_uring_answer(struct io_uring_cmd *cmd, int ret,
			     unsigned int issue_flags)
{
	if (ret == -EIOCBQUEUED)
		return ret;
	if (ret == -EAGAIN && issue_flags & IO_URING_F_NONBLOCK) {
		cmd->flags |= HOMI_URING_AGAIN;
		return ret;
	}
	homi_uring_end(cmd, homi_no_restart(ret), issue_flags);
	return -EIOCBQUEUED;
}

/* All of them may sleep. */
static int homi_uring_call(struct homi_ctx *ctx, struct io_uring_cmd *cmd,
			   unsigned int issue_flags)
{
	struct homi_uring_call call;

	if (issue_flags & IO_URING_F_NONBLOCK)
		return -EAGAIN;
	/* Once: it may be in memory that is shared with the caller. */
	memcpy(&call, homi_uring_payload(cmd), sizeof(call));
	if (call.__reserved)
		return -EINVAL;
	return homi_call_user(ctx, cmd->cmd_op, u64_to_user_ptr(call.addr));
}

/**
 * homi_uring_cmd - f_op->uring_cmd
 * @cmd: the command; its SQE is user space's
 * @issue_flags: IO_URING_F_*
 */
int homi_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct homi_ctx *ctx = cmd->file->private_data;
	int ret;

	/* Registered buffers are no use to any command. */
	if (cmd->flags & HOMI_URING_USER_FLAGS)
		return -EINVAL;
	switch (cmd->cmd_op) {
	case HOMI_READ:
	case HOMI_WRITE:
		ret = homi_rw(ctx, cmd, cmd->cmd_op == HOMI_WRITE, issue_flags);
		break;
	default:
		ret = homi_uring_call(ctx, cmd, issue_flags);
	}
	return homi_uring_answer(cmd, ret, issue_flags);
}
