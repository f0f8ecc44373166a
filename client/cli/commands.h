/* The commands. Each parses its own arguments (argv without the command's name) and returns the
 * exit code of `leat`. */
#ifndef LEAT_CLIENT_CLI_COMMANDS_H
#define LEAT_CLIENT_CLI_COMMANDS_H

int command_pub(int argc, char **argv);
int command_sub(int argc, char **argv);
int command_topic(int argc, char **argv);
int command_group(int argc, char **argv);
int command_producer(int argc, char **argv);
int command_perf(int argc, char **argv);

#endif
