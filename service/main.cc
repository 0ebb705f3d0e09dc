// mayfly: command line, supervisor and core.
#include "service/command_line.h"

int main(int argc, char** argv) { return mayfly::service::RunCommandLine(argc, argv, {}); }
