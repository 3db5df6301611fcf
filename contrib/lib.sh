# Shared by contrib/start and contrib/test; sourced, never run. Needs: $checkout (the tree), $0.
# shellcheck shell=bash

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'Error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2; exit 1; }

# install_packages apt-names -- dnf-names: install those that are missing. As an ordinary user: say how to.
install_packages() {
    local apt=() dnf=() missing=() manager=
    while [ "$1" != -- ]; do apt+=("$1"); shift; done
    shift; dnf=("$@")
    if command -v apt-get >/dev/null; then
        manager=apt-get
        for p in "${apt[@]}"; do dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p"); done
    elif command -v dnf >/dev/null; then
        manager=dnf
        for p in "${dnf[@]}"; do rpm -q --whatprovides "$p" >/dev/null 2>&1 || missing+=("$p"); done
    else
        say "neither apt-get nor dnf here: taking it that ${apt[*]} are installed"
        return
    fi
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ]; then
        say "installing ${missing[*]}"
        if [ "$manager" = apt-get ]; then
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
        else
            dnf install -y -q "${missing[@]}"
        fi
    elif [ -n "${ROOTLESS_OPTIONAL_PACKAGES:-}" ]; then
        say "not installed: ${missing[*]} (going on without)"
    else
        die "not installed: ${missing[*]}" "sudo $manager install -y ${missing[*]}"
    fi
}

# Distributions make these two usable by everybody; some minimal virtual machines do not. Only root can mend it.
open_devices() {
    [ "$(id -u)" = 0 ] || return 0
    local device
    for device in /dev/fuse /dev/net/tun; do
        [ ! -c "$device" ] || [ "$(stat -c %a "$device")" = 666 ] || chmod 0666 "$device"
    done
}

# ensure_subids NAME: the user has subordinate ids, or (as root) gets a range behind all those handed out.
ensure_subids() {
    local kind file start
    for kind in uid gid; do
        file=/etc/sub$kind
        grep -qsE "^($1|$(id -u "$1")):[0-9]+:[0-9]+" "$file" && continue
        if [ "$(id -u)" = 0 ]; then
            start=$(awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }' "$file" 2>/dev/null || echo 100000)
            echo "$1:$start:65536" >> "$file"
        else
            say "$1 has no entry in $file; containers will have a single user until: sudo usermod --add-sub${kind}s 100000-165535 $1"
        fi
    done
}

# as_user NAME COMMAND...: go on as that user, with a home and a runtime directory, without what is root's.
as_user() {
    local name=$1 uid home; shift
    uid=$(id -u "$name"); home=$(getent passwd "$name" | cut -d: -f6)
    [ -d "/run/user/$uid" ] || install -d -m 700 -o "$uid" -g "$(id -g "$name")" "/run/user/$uid"
    local kept=()  # how this machine reaches package indexes
    mapfile -t kept < <(env | grep -E '^(PIP_|SSL_CERT_|(https?|no|all)_proxy=|(HTTPS?|NO|ALL)_PROXY=)')
    setpriv --reuid="$uid" --regid="$(id -g "$name")" --init-groups env -i "${kept[@]}" HOME="$home" USER="$name" LOGNAME="$name" \
        SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}" CI="${CI:-}" XDG_RUNTIME_DIR="/run/user/$uid" \
        ROOTLESS_TEST_FILESYSTEMS="${ROOTLESS_TEST_FILESYSTEMS:-}" ROOTLESS_TEST_CGROUP="${ROOTLESS_TEST_CGROUP:-}" ROOTLESS_TEST_VM="${ROOTLESS_TEST_VM:-}" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$@"
}

# make_user NAME: there is such an ordinary user.
make_user() {
    id "$1" >/dev/null 2>&1 || { say "making the ordinary user $1"; useradd -m -s /bin/bash "$1"; }
}

# become_user SCRIPT ARGS...: started by root, make an ordinary user, give it a copy of the tree, and run the script there.
become_user() {
    local script=$1 name=${ROOTLESS_USER:-rootless} home; shift
    make_user "$name"
    ensure_subids "$name"
    home=$(getent passwd "$name" | cut -d: -f6)
    if [ -e "$home/rootless-tree" ] && [ ! -e "$home/rootless-tree/contrib/lib.sh" ]; then
        die "$home/rootless-tree is in the way and no copy of this tree" "move it away"
    fi
    rm -rf "$home/rootless-tree"
    mkdir "$home/rootless-tree"
    tar -C "$checkout" --exclude=./.venv --exclude=__pycache__ --exclude='./.*_cache' -cf - . | tar -C "$home/rootless-tree" -xf - --no-same-owner
    chown -R "$name:" "$home/rootless-tree"
    say "going on as $name in $home/rootless-tree"
    cd "$home/rootless-tree"
    as_user "$name" "$home/rootless-tree/$script" "$@"
}

# make_venv DIRECTORY PIP-ARGS...: a virtual environment on the distribution's own interpreter, with these installed.
make_venv() {
    local directory=$1 python=/usr/bin/python3; shift
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || python=$(command -v python3.13 || command -v python3.12 || command -v python3.11) \
        || die "Python 3.11 or newer is needed" "install python3.11 or newer"
    if [ ! -x "$directory/bin/python" ]; then
        say "making the virtual environment $directory"
        "$python" -m venv "$directory"
        "$directory/bin/python" -m pip install -q --upgrade pip 2>/dev/null || true
    fi
    "$directory/bin/python" -m pip install -q --disable-pip-version-check "$@"
    # setuptools leaves a .pth file behind that taxes every start of an interpreter that reads site-packages.
    rm -f "$directory"/lib/python3.*/site-packages/distutils-precedence.pth
}
