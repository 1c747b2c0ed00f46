// The msentry command.
#include <cstdio>

int main() {
  fputs("msentry: no subcommand is built in yet\n", stderr);
  return 125;
}
