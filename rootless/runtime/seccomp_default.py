"""The default system-call filter: which calls a container may make, as Docker's and Podman's users know it.

The lists are facts that both engines publish (containers/common seccomp.json of Podman 5, profiles/seccomp/default.json
of Moby). What is in no list fails with ENOSYS, so that programs fall back to older calls. Where Podman's is the more
lenient one we keep to Docker's: without CAP_SYS_ADMIN no new user namespace (and so no mounts in it), no keys, no
sockets of the hypervisor. A test holds every decision against Podman's file and these differences.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENOSYS = 38
EPERM = 1
EINVAL = 22

_ALLOWED = """
accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64
clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close
close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
ftruncate64 futex futex_time64 futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents
getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid
getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set ipc kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise mbind membarrier memfd_create
memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify
mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv
msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause
pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace
pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv reboot recv recvfrom recvmmsg recvmmsg_time64
recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
sendto set_mempolicy set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget
shutdown sigaltstack signal signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs
statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo syslog tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write writev
"""

# Known, never needed by a container, and better refused than reported missing.
_REFUSED = """
add_key bdflush cachestat futex_requeue futex_wait futex_waitv futex_wake io_pgetevents io_pgetevents_time64
kexec_file_load kexec_load keyctl map_shadow_stack migrate_pages move_pages nfsservctl nice oldfstat oldlstat
oldolduname oldstat olduname pciconfig_iobase pciconfig_read pciconfig_write request_key sgetmask ssetmask swapoff
swapon syscall sysfs uselib userfaultfd ustat vm86 vm86old vmsplice
"""

# Allowed with the capability, else EPERM.
_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount"
    " open_tree pivot_root quotactl quotactl_fd setdomainname sethostname setns umount umount2 unshare",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module query_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

_BY_ARCHITECTURE = (
    (["ppc64le"], "sync_file_range2 swapcontext"),
    (["arm", "arm64"], "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
    (["amd64", "x32"], "arch_prctl"),
    (["amd64", "x32", "x86"], "modify_ldt"),
    (["s390", "s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (["riscv64"], "riscv_flush_icache"),
)

# personality(2): Linux, 32 bits, UNAME26, both, and asking which one holds. Never READ_IMPLIES_EXEC or no address
# space randomisation.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# CLONE_NEW*: namespaces by clone(2). clone3(2) hides its flags in memory, where no filter sees them: ENOSYS without the
# capability, and the C library falls back to clone.
_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)

_AF_NETLINK = 16
_AF_VSOCK = 40
_NETLINK_AUDIT = 9


def default_profile() -> dict[str, Any]:
    """The profile in the format of Docker's and Podman's files (defaultAction, syscalls with includes and excludes)."""
    rules: list[dict[str, Any]] = [_refuse(_REFUSED), _allow(_ALLOWED)]
    rules += [_allow("personality", args=[_compare(0, value, "EQ")]) for value in _PERSONALITIES]
    rules += [_allow(names, includes={"arches": arches}) for arches, names in _BY_ARCHITECTURE]
    for capability, names in _BY_CAPABILITY.items():
        rules.append(_allow(names, includes={"caps": [capability]}))
        rules.append(_refuse(names, excludes={"caps": [capability]}))
    administrator = {"caps": ["CAP_SYS_ADMIN"]}
    rules.append(_allow("clone clone3", includes=administrator))
    flags = {**_compare(0, sum(_NAMESPACES), "MASKED_EQ"), "valueTwo": 0}
    rules.append(_allow("clone", args=[flags], excludes=administrator))
    for flag in _NAMESPACES:
        rules.append(_refuse("clone", args=[{**flags, "value": flag, "valueTwo": flag}], excludes=administrator))
    rules.append(_allow("bpf", includes={"caps": ["CAP_SYS_ADMIN"]}))
    rules.append(_allow("bpf", includes={"caps": ["CAP_BPF"]}))
    rules.append(_refuse("bpf", excludes={"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}))
    # Two capabilities are asked for, as in Podman's file; the kernel by itself is content with CAP_PERFMON.
    rules.append(_refuse("perf_event_open", excludes={"caps": ["CAP_SYS_ADMIN"]}))
    rules.append(_allow("perf_event_open", includes={"caps": ["CAP_PERFMON"]}))
    rules += _socket_rules()
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ENOSYS, "syscalls": rules}


def _socket_rules() -> list[dict[str, Any]]:
    """All families but the hypervisor's. The audit socket: allowed with CAP_AUDIT_WRITE, "not supported" without, for
    which programs like sudo are ready. No two rules overlap: which one wins would be libseccomp's affair."""
    families = [_compare(0, _AF_NETLINK, "LT"), _compare(0, _AF_VSOCK, "GT")]
    families += [_compare(0, family, "EQ") for family in range(_AF_NETLINK + 1, _AF_VSOCK)]
    netlink, audit = _compare(0, _AF_NETLINK, "EQ"), _compare(2, _NETLINK_AUDIT, "EQ")
    without = {"caps": ["CAP_AUDIT_WRITE"]}
    return [
        *(_allow("socket", args=[family]) for family in families),
        _refuse("socket", args=[_compare(0, _AF_VSOCK, "EQ")]),
        _allow("socket", args=[netlink], includes=without),
        _allow("socket", args=[netlink, {**audit, "op": "SCMP_CMP_NE"}], excludes=without),
        {**_refuse("socket", args=[netlink, audit], excludes=without), "errnoRet": EINVAL},
    ]


def _allow(names: str, **more: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **more}


def _refuse(names: str, **more: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, **more}


def _compare(index: int, value: int, operator: str) -> dict[str, Any]:
    return {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}
