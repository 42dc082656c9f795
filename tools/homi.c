// SPDX-License-Identifier: MIT
/*
 * The homi command: options, and the table of what it can do.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#ifndef HOMI_VERSION
#error "HOMI_VERSION comes from the Makefile"
#endif

static const struct command commands[] = {
	{ "list", "", "", "controllers, and whether queues can be had on them", 0, 0, cmd_list },
	{ "info", "[CONTROLLER]", "", "all about a controller and its namespaces", 0, 1, cmd_info },
	{ "check", "", "", "can this machine run homi, and if not, why and what to do", 0, 0,
	  cmd_check },
	{ "extents", "FILE|DIRECTORY", "d",
	  "which blocks of the namespace a file occupies, or how many extents all below have", 1, 1,
	  cmd_extents },
	{ "read", "FILE", "dOrp", "read a file through a queue pair of its own", 1, 1, cmd_read },
	{ "write", "FILE", "dIrp", "write to a file in place through a queue pair of its own", 1, 1,
	  cmd_write },
	{ "prepare", "FILE SIZE", "p",
	  "make a file that can be written in place: all of it there, written, not shared", 2, 2,
	  cmd_prepare },
	{ "verify", "FILE...", "drp", "read files through a queue and by pread, and compare", 1, -1,
	  cmd_verify },
	{ "watch", "FILE...", "dw", "hold files, and tell when somebody else wants them", 1, -1,
	  cmd_watch },
	{ "reserve", "CONTROLLER COUNT", "",
	  "have the nvme driver leave COUNT queues to homi; 0 gives them back", 2, 2, cmd_reserve },
	{ "revoke", "CONTROLLER", "n", "list who holds queues, and take all of them back", 1, 1,
	  cmd_revoke },
	{ "stats", "[CONTROLLER]", "", "what was read, written, reset, recalled and refused", 0, 1,
	  cmd_stats },
	{ "top", "[CONTROLLER]", "t", "the same by the second, and which open files do it", 0, 1,
	  cmd_top },
};

enum {
	OPT_DEPTH = 256,
	OPT_BS,
	OPT_TIMEOUT,
	OPT_PROGRESS,
	OPT_NO_PROGRESS,
};

/* A command is of whole pages of the controller's, which Linux has be that large. */
#define BS_STEP	4096u

/* The letter says for which commands it is: see struct command.options. */
static const struct choice {
	struct option option;
	char letter;
	const char *help;
} choices[] = {
	{ { "output", required_argument, NULL, 'o' }, 0, "-o, --output=FORMAT   text or json" },
	{ { "help", no_argument, NULL, 'h' }, 0, "-h, --help            this text" },
	{ { "device", required_argument, NULL, 'd' }, 'd',
	  "-d, --device=NAME     the controller, nvme0 say; default: the one that the file is on" },
	{ { "to", required_argument, NULL, 'O' }, 'O',
	  "-O, --to=FILE         write the data there, - is stdout; default: nowhere" },
	{ { "from", required_argument, NULL, 'I' }, 'I',
	  "-I, --from=FILE       the data, - is stdin; default: stdin" },
	{ { "dry-run", no_argument, NULL, 'n' }, 'n',
	  "-n, --dry-run         only list" },
	{ { "count", required_argument, NULL, 'c' }, 'w',
	  "-c, --count=N         end after so many recalls; default: when it is told to" },
	{ { "count", required_argument, NULL, 'n' }, 't',
	  "-n, --count=N         end after so many times; default: when it is told to" },
	{ { "interval", required_argument, NULL, 'i' }, 't',
	  "-i, --interval=SECONDS  between two looks, from 0.1 on; default 1" },
	{ { "depth", required_argument, NULL, OPT_DEPTH }, 'r',
	  "    --depth=N         commands in flight, default 128" },
	{ { "bs", required_argument, NULL, OPT_BS }, 'r',
	  "    --bs=N[k|m]       bytes in one command, a multiple of 4k, default 128k" },
	{ { "timeout", required_argument, NULL, OPT_TIMEOUT }, 'r',
	  "    --timeout=SECONDS how long a command may take, default 30" },
	{ { "progress", no_argument, NULL, OPT_PROGRESS }, 'p',
	  "    --progress        show progress on stderr even if that is no terminal" },
	{ { "no-progress", no_argument, NULL, OPT_NO_PROGRESS }, 'p',
	  "    --no-progress     never show progress" },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void usage(FILE *f)
{
	size_t i;

	fputs("usage: homi COMMAND [OPTION]... [OPERAND]...\n\n", f);
	for (i = 0; i < COUNT(commands); i++)
		fprintf(f, "  %-8s %-14s %s\n", commands[i].name, commands[i].operands,
			commands[i].help);
	fputs("\n\"homi COMMAND --help\" shows a command's options; homi(1) tells the rest.\n", f);
}

static bool takes(const struct command *cmd, const struct choice *choice)
{
	return !choice->letter || strchr(cmd->options, choice->letter);
}

static int command_usage(const struct command *cmd)
{
	size_t i;

	printf("usage: homi %s [OPTION]... %s\n%s\n\n", cmd->name, cmd->operands, cmd->help);
	for (i = 0; i < COUNT(choices); i++)
		if (takes(cmd, &choices[i]))
			printf("  %s\n", choices[i].help);
	return EXIT_OK;
}

static int number_option(const char *text, const char *what, bool bytes, uint64_t most,
			 uint32_t *value)
{
	int ret = parse_number(text, bytes, 1, most, value);

	if (ret == -EINVAL)
		return complain(EXIT_USAGE, "%s: \"%s\" is not a number", what, text);
	if (ret)
		return complain(EXIT_USAGE, "%s: \"%s\" is not from 1 to %llu", what, text,
				(unsigned long long)most);
	if (bytes && *value % BS_STEP)
		return complain(EXIT_USAGE, "%s: \"%s\" is no multiple of %u", what, text,
				BS_STEP);
	return 0;
}

static int parse_format(struct options *opt, const char *text)
{
	opt->json = !strcmp(text, "json");
	if (!opt->json && strcmp(text, "text"))
		return complain(EXIT_USAGE, "--output: \"%s\" is neither text nor json", text);
	return 0;
}

static int parse_interval(struct options *opt, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.1 && seconds <= 86400))
		return complain(EXIT_USAGE, "--interval: \"%s\" is not from 0.1 to 86400", text);
	opt->interval_ms = (uint32_t)(seconds * 1000);
	return 0;
}

static int parse_one(struct options *opt, int letter)
{
	uint32_t seconds;
	int ret;

	switch (letter) {
	case 'o':
		return parse_format(opt, optarg);
	case 'd':
		opt->device = optarg;
		return 0;
	case 'O':
		opt->to = optarg;
		return 0;
	case 'I':
		opt->from = optarg;
		return 0;
	case 'n':
		if (optarg)
			return number_option(optarg, "--count", false, UINT32_MAX,
					     &opt->refreshes);
		opt->dry_run = true;
		return 0;
	case 'i':
		return parse_interval(opt, optarg);
	case 'c':
		return number_option(optarg, "--count", false, UINT32_MAX, &opt->recalls);
	case OPT_DEPTH:
		return number_option(optarg, "--depth", false, 65535, &opt->reader.depth);
	case OPT_BS:
		return number_option(optarg, "--bs", true, 1 << 30, &opt->reader.chunk);
	case OPT_TIMEOUT:
		ret = number_option(optarg, "--timeout", false, 86400, &seconds);
		if (!ret)
			opt->reader.timeout_ms = seconds * 1000;
		return ret;
	case OPT_PROGRESS:
	case OPT_NO_PROGRESS:
		opt->progress = letter == OPT_PROGRESS;
		return 0;
	default:
		return EXIT_USAGE;
	}
}

/* 0, an exit status, or -1: help was shown */
static int parse(const struct command *cmd, struct options *opt, int argc, char **argv)
{
	struct option options[COUNT(choices) + 1] = { 0 };
	char letters[2 * COUNT(choices) + 1], *last = letters;
	size_t i, n = 0;
	int letter, ret;

	for (i = 0; i < COUNT(choices); i++) {
		if (!takes(cmd, &choices[i]))
			continue;
		options[n++] = choices[i].option;
		if (choices[i].option.val >= OPT_DEPTH)
			continue;
		*last++ = (char)choices[i].option.val;
		if (choices[i].option.has_arg)
			*last++ = ':';
	}
	*last = '\0';
	while ((letter = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		for (i = 0; i < n && options[i].val != letter; i++)
			;
		if (letter == '?' || i == n)
			return complain(EXIT_USAGE, "see \"homi %s --help\"", cmd->name);
		if (letter == 'h') {
			command_usage(cmd);
			return -1;
		}
		ret = parse_one(opt, letter);
		if (ret)
			return ret;
	}
	opt->count = argc - optind;
	opt->operands = argv + optind;
	if (opt->count < cmd->min || (cmd->max >= 0 && opt->count > cmd->max))
		return report(opt, EXIT_USAGE, -EINVAL, "", "usage: homi %s [OPTION]... %s",
			      cmd->name, cmd->operands);
	return 0;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* A full disk behind stdout must not look like success. */
static int finish(int code)
{
	bool bad = ferror(stdout);

	if ((fclose(stdout) || bad) && code == EXIT_OK)
		return complain(EXIT_IO, "could not write all output");
	return code;
}

/* Where one of these is closed a file that is opened must not become it. */
static void fill_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct options opt = { .progress = -1 };
	const struct command *cmd;
	int ret;

	fill_standard_files();
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(stdout);
		return finish(EXIT_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		puts("homi " HOMI_VERSION);
		return finish(EXIT_OK);
	}
	cmd = find_command(argv[1]);
	if (!cmd)
		return complain(EXIT_USAGE, "there is no command \"%s\"; see \"homi --help\"",
				argv[1]);
	ret = parse(cmd, &opt, argc - 1, argv + 1);
	if (ret)
		return ret < 0 ? finish(EXIT_OK) : ret;
	return finish(cmd->run(&opt));
}
