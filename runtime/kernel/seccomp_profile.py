"""Which system calls a program in a container may make: data only, `seccomp.py` turns it into a filter.

In substance Docker's default profile (moby: profiles/seccomp, "Significant syscalls blocked by the default profile"). Where it
differs, on purpose:

- `get_mempolicy`, `mbind`, `set_mempolicy`, `set_mempolicy_home_node` are allowed: numactl, hwloc and NCCL place the caller's own
  memory with them, and Docker's refusal only costs bandwidth on NUMA machines.
- `pidfd_getfd` is allowed: PyTorch shares CUDA memory between processes with it. The kernel's ptrace check guards it as it guards
  `ptrace`, which Docker allows.
- sockets only of the families in SOCKET_FAMILIES; others say "address family not supported", which libraries expect.
- TIOCSTI and TIOCLINUX, which type into the terminal that a program inherited, are refused.
- what slows processes down (SLOWING) is refused for init, which has the ids of a container's root, and for all of a user at once.
- no 32-bit system calls (i386, x32, arm): a second door into the kernel for nothing that training needs.
"""

from __future__ import annotations

_FILES = """
access cachestat chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listxattr listxattrat
llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2
pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename
renameat renameat2 rmdir sendfile setxattr setxattrat splice stat statfs statx symlink symlinkat sync sync_file_range
syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev listmount statmount
"""

# Pipes, polling and asynchronous I/O. io_uring has had too many holes: not here, as in Docker since 2023.
_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioprio_get pipe pipe2 poll ppoll pselect6
select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
"""

_MEMORY = """
brk get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages
set_mempolicy set_mempolicy_home_node
"""

_PROCESSES = """
alarm execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list
get_thread_area getcpu getitimer getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid kill pause
pidfd_getfd pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_yield set_robust_list set_thread_area set_tid_address setitimer setpgid setrlimit setsid
sigaltstack tgkill tkill uretprobe vfork wait4 waitid
"""

# Setting the clock needs a capability that no container has.
_TIME = """
adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime times
"""

_IDENTITY = """
capget capset getegid geteuid getgid getgroups getresgid getresuid getuid landlock_add_rule landlock_create_ruleset
landlock_restrict_self seccomp setfsgid setfsuid setgid setgroups setregid setresgid setresuid setreuid setuid
"""

# `socket` itself: see SOCKET_FAMILIES.
_SOCKETS_AND_IPC = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
setsockopt shutdown socketpair mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv
msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
"""

# `arch_prctl` and `modify_ldt` exist on x86 only.
_MACHINE = "arch_prctl getrandom modify_ldt sysinfo uname"

ALWAYS = frozenset(" ".join((_FILES, _WAITING, _MEMORY, _PROCESSES, _TIME, _IDENTITY, _SOCKETS_AND_IPC, _MACHINE)).split())
"""Allowed whatever the arguments and the capabilities."""

_ADMINISTRATION = """
bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd
setdomainname sethostname setns syslog umount2 unshare
"""

BY_CAPABILITY: dict[str, tuple[str, ...]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_ADMIN": tuple(_ADMINISTRATION.split()),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "settimeofday"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}
"""Allowed in addition when the capability is kept."""

SOCKET_FAMILIES = (1, 2, 10, 16, 17, 43)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET (needs NET_RAW as well) and AF_SMC (RDMA)."""

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, UNAME26 with each of them, and the query."""

SLOWING: dict[str, tuple[tuple[int, int], ...]] = {
    "ioprio_set": ((0, 3), (1, 1)),
    "sched_setaffinity": ((0, 1),),
    "sched_setattr": ((0, 1),),
    "sched_setparam": ((0, 1),),
    "sched_setscheduler": ((0, 1),),
    "setpriority": ((0, 2), (1, 1)),
}
"""Allowed, but where an argument (its index) has a value: 1 is init and its group, 3 IOPRIO_WHO_USER, 2 PRIO_USER."""

CLONE_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: clone(2) with any of them is refused."""

TERMINAL_INJECTION = (0x5412, 0x541C)
"""The ioctls TIOCSTI and TIOCLINUX (asm-generic/ioctls.h)."""

OWNER_CALLS = ("chown", "fchown", "fchownat", "lchown")
"""What changes the owner of a file."""

IDENTITY_CALLS = (
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
)
"""What changes who a process is. A user namespace with one single id refuses these and the former, and a build step there is told
that they worked."""
