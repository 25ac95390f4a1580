/* A training program of 1.3 KB, for an image without a C library or Python:
   cc -static -nostdlib -ffreestanding -Os -s -fno-stack-protector -fno-asynchronous-unwind-tables -Wl,--build-id=none -Wl,-z,noseparate-code

   train HOW: says which attempt it is (a file in $LAUNCH_CHECKPOINTS tells), writes three steps of a loss and a result, and ends:
   `end` at once, `nap` three seconds later, `fail` at its first attempt with exit code 3. */
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

static size_t length(const char *text)
{
    size_t count = 0;
    while (text[count])
        count++;
    return count;
}

static const char *find_variable(char **environ, const char *name)
{
    size_t count = length(name);
    for (; *environ; environ++) {
        size_t same = 0;
        while (same < count && (*environ)[same] == name[same])
            same++;
        if (same == count && (*environ)[same] == '=')
            return *environ + count + 1;
    }
    call(SYS_exit_group, 99, 0, 0, 0);
    return NULL;
}

static void write_text(int descriptor, const char *text) { call(SYS_write, descriptor, (long)text, length(text), 0); }

static int open_in(const char *directory, const char *name, int flags)
{
    int parent = call(SYS_openat, AT_FDCWD, (long)directory, O_RDONLY | O_DIRECTORY, 0);
    return call(SYS_openat, parent, (long)name, flags, 0644);
}

void start(long *stack)
{
    char **argv = (char **)(stack + 1), **environ = argv + stack[0] + 1;
    const char *checkpoints = find_variable(environ, "LAUNCH_CHECKPOINTS");
    int again = open_in(checkpoints, "been-here", O_RDONLY) >= 0;
    int metrics = call(SYS_openat, AT_FDCWD, (long)find_variable(environ, "LAUNCH_METRICS"), O_WRONLY | O_APPEND | O_CREAT, 0644);

    write_text(1, again ? "second attempt\n" : "first attempt\n");
    write_text(2, "on stderr\n");
    write_text(metrics, "{\"step\": 0, \"loss\": 1.0}\n{\"step\": 1, \"loss\": 0.5}\n{\"step\": 2, \"loss\": 0.25}\n");
    write_text(open_in(find_variable(environ, "LAUNCH_OUTPUTS"), "result.txt", O_WRONLY | O_CREAT | O_TRUNC), "42\n");
    open_in(checkpoints, "been-here", O_WRONLY | O_CREAT);
    if (!again && argv[1][0] == 'f')
        call(SYS_exit_group, 3, 0, 0, 0);
    if (argv[1][0] == 'n')
        call(SYS_nanosleep, (long)(long[2]){3, 0}, 0, 0, 0);
    call(SYS_exit_group, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n    mov %rsp, %rdi\n    and $-16, %rsp\n    call start\n");
