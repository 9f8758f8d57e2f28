# Sourced by the interop suites: what they install, and where. It sets
#
#   here               this folder
#   root               the repository
#   build_directory    where cargo builds
#   install_directory  INTEROP_DIR, or else target/interop; what is up to date there is used again

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build_directory=${CARGO_TARGET_DIR:-$root/target}
install_directory=${INTEROP_DIR:-$root/target/interop}
mkdir -p "$install_directory"
install_directory=$(cd "$install_directory" && pwd)

# Ends the suite unless every tool is there.
require() {
    local tool
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            echo "$0 needs $tool, which is not installed" >&2
            exit 1
        fi
    done
}

# In the foreground, so that ctrl-c reaches the command.
within() {
    timeout --foreground "$@"
}

# Whether DIRECTORY was installed from exactly FILE. The copy is made last, so half an installation never counts.
is_installed() {
    cmp --silent "$2" "$1/installed-from"
}

# install_npm_packages NAME FOLDER: what the lock file in FOLDER says, into a directory of that name.
install_npm_packages() {
    local directory=$install_directory/$1
    mkdir -p "$directory"
    if ! is_installed "$directory" "$2/package-lock.json"; then
        echo "installing the npm packages into $directory"
        rm -f "$directory/installed-from"
        cp "$2/package.json" "$2/package-lock.json" "$directory"
        (cd "$directory" && within 600 npm ci --no-audit --no-fund --ignore-scripts --loglevel error)
        cp "$2/package-lock.json" "$directory/installed-from"
    fi
}

install_node_packages() {
    install_npm_packages node "$here"
    # Node looks for packages next to the importing file, so our own files go there too.
    # Not while another suite reads them.
    cp --update "$here"/clients/*.mjs "$here"/servers/*.mjs "$install_directory/node"
}

# install_python_packages NAME: what requirements-NAME.txt says, into a virtual environment of that name.
install_python_packages() {
    local directory=$install_directory/$1 requirements=$here/requirements-$1.txt
    if ! is_installed "$directory" "$requirements"; then
        echo "installing the packages of requirements-$1.txt into $directory"
        rm -rf "$directory"
        within 60 python3 -m venv "$directory"
        within 600 "$directory/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        cp "$requirements" "$directory/installed-from"
    fi
}

# Prints where Node 22 or later is, which npm has as a package for Linux, among those of the conformance suite.
node_22() {
    local candidate
    for candidate in "$install_directory"/suite/node_modules/node-linux-*/bin/node "$(command -v node)"; do
        if "$candidate" -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "$0 needs node 22 or later, and npm has no package of it for this machine: install it" >&2
    return 1
}
