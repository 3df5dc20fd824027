# Sourced after common.sh: finds the programs that a script needs, and installs them where it may.

# has NAME: whether the program, or the server of that name, is here.
has() {
    case $1 in
        postgres | rabbitmq) "$(dirname "${BASH_SOURCE[0]}")/../servers/$1" available ;;
        cc) command -v cc >/dev/null ;;
        pyyaml) python3 -c 'import yaml' 2>/dev/null ;;
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        node) node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# package NAME: the Debian packages that bring it; nothing where no package is what we want.
package() {
    case $1 in
        postgres) echo postgresql ;;
        rabbitmq) echo rabbitmq-server ;;
        cc) echo gcc libc6-dev ;;
        git) echo git ca-certificates ;; # to fetch the advisories
        python3) echo python3 ;;
        pyyaml) echo python3-yaml ;;
        venv) echo python3-venv ca-certificates ;; # to fetch packages
        node) echo nodejs ;;
        npm) echo npm ca-certificates ;; # to fetch packages
    esac
}

# need_programs NAME...: returns when all of them are here; else installs what is missing, or says what it is and ends the script.
need_programs() {
    local name missing=() packages=()
    [ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin
    for name in "$@"; do
        has "$name" && continue
        missing+=("$name")
        packages+=($(package "$name"))
    done
    [ ${#missing[@]} -eq 0 ] && return
    [[ " ${missing[*]} " != *" cargo "* ]] || die "cargo is missing: install Rust from https://rustup.rs"
    if [ "$(id -u)" != 0 ] || ! has apt-get; then
        die "missing: ${missing[*]}. On Debian: sudo apt-get install ${packages[*]}"
    fi
    install_packages "${packages[@]}"
    for name in "${missing[@]}"; do has "$name" || die "$name is missing, also after installing ${packages[*]}"; done
}

# install_packages PACKAGE...: without letting the packages start services: the tests start their own.
install_packages() {
    local policy=/usr/sbin/policy-rc.d own=
    say "installing $*"
    if [ ! -e "$policy" ]; then
        own=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local status=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; } >&2 || status=$?
    [ -z "$own" ] || rm -f "$policy"
    [ "$status" = 0 ] || die "apt-get could not install $*"
}
