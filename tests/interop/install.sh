# Sourced by the scripts next to it: installs what they need, once, into $install_directory. The caller sets $here, the
# directory of this file.

# In the foreground, so that ctrl-c reaches the command.
within() {
    timeout --foreground "$@"
}

# Whether DIRECTORY was installed from exactly FILE. The copy is made last, so half an installation never counts.
is_installed() {
    cmp --silent "$2" "$1/installed-from"
}

install_node_packages() {
    local directory=$install_directory/node
    mkdir -p "$directory"
    if ! is_installed "$directory" "$here/package-lock.json"; then
        echo "installing the npm packages into $directory"
        rm -f "$directory/installed-from"
        cp "$here/package.json" "$here/package-lock.json" "$directory"
        (cd "$directory" && within 600 npm ci --no-audit --no-fund --ignore-scripts --loglevel error)
        cp "$here/package-lock.json" "$directory/installed-from"
    fi
    # Node looks for packages next to the importing file, so our own files go there too.
    cp "$here"/clients/*.mjs "$here"/servers/*.mjs "$directory"
}

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
