// The least a program does: reaches main, writes, exits.
#include <stdio.h>

int main(void) { return puts("hello from a guest") < 0; }
