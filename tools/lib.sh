# SPDX-License-Identifier: Apache-2.0
# Shared set-up, sourced by the tools. It installs into .venv beside README.rst.

set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=$PWD/.venv
extras='[test,docs,postgresql,mysql,cassandra,akamai,cloudfront,edge,route53,metrics,secrets,tracing]'

say() { printf '%s\n' "== $*" >&2; }

# probe PACKAGE - print a program or a file of the package, which other packages do not have; a
# file's path may contain wildcards.
probe() {
    case $1 in
        bind9) echo named ;;
        bind9-dnsutils) echo dig ;;
        chromium-driver) echo chromedriver ;;
        knot) echo knotd ;;
        mariadb-server) echo mariadbd ;;
        maven) echo mvn ;;
        nginx-light) echo nginx ;;
        nodejs) echo node ;;
        openjdk-17-jre-headless) echo '/usr/lib/jvm/*-17-*/bin/java' ;;
        pdns-backend-geoip) echo '/usr/lib/*/pdns/libgeoipbackend.so' ;;
        pdns-backend-sqlite3) echo '/usr/lib/*/pdns/libgsqlite3backend.so' ;;
        pdns-server) echo pdns_server ;;
        postgresql) echo '/usr/lib/postgresql/*/bin/initdb' ;;
        varnish) echo varnishd ;;
        varnish-modules) echo '/usr/lib/*/varnish/vmods/libvmod_xkey.so' ;;
        *) echo "$1" ;;
    esac
}

# debian PACKAGE ... - install missing packages if possible; otherwise list them.
debian() {
    local missing=() package sign
    for package in "$@"; do
        sign=$(probe "$package")
        case $sign in
            /*) compgen -G "$sign" >/dev/null ;;
            *) PATH=$PATH:/usr/sbin command -v "$sign" >/dev/null ;;
        esac || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing Debian packages: ${missing[*]}"
        # Do not start the packages' services: the tools start the servers that they need.
        (
            export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
            apt-get update -qq
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
        ) >"${TMPDIR:-/tmp}/poppy-apt.$$.log" 2>&1 || {
            cat "${TMPDIR:-/tmp}/poppy-apt.$$.log" >&2
            say "could not install ${missing[*]}; continuing without"
        }
        rm -f "${TMPDIR:-/tmp}/poppy-apt.$$.log"
    else
        say "not installed, and only root can install: ${missing[*]}"
    fi
}

# python - create the virtual environment with Poppy and its client; recreate it when a setup.cfg or
# constraints.txt changes.
python() {
    local stamp wanted=(--no-build-isolation -e ".$extras" -e './client[openstack]')
    stamp="$extras $(cat setup.cfg client/setup.cfg constraints.txt | cksum)"
    if [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "Python 3.11 or newer is needed; python3 is $(python3 --version 2>&1)"
        exit 1
    }
    say "creating the virtual environment in .venv (once)"
    python3 -m venv --clear "$venv" 2>/dev/null || {
        debian python3-venv
        python3 -m venv --clear "$venv"
    }
    "$venv/bin/pip" install -qq --upgrade pip setuptools wheel pbr uv
    # uv takes less than half of pip's time, but does not read the configuration of pip's index.
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" -c constraints.txt "${wanted[@]}" ||
        "$venv/bin/pip" install -qq -c constraints.txt "${wanted[@]}" || {
        say "the versions of constraints.txt can't be installed; installing the newest ones"
        "$venv/bin/pip" install -qq "${wanted[@]}"
    }
    printf '%s' "$stamp" >"$venv/.stamp"
}
