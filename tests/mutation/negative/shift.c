/* A shift by more than there are bits: UndefinedBehaviorSanitizer. */
int main(int argc, char **argv)
{
    volatile int by = 31 + argc;
    (void)argv;
    return (1 << by) == 3;
}
