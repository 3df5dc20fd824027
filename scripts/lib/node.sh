# Sourced after common.sh and install.sh: the packages that a receiver in TypeScript uses.

# bring_node_modules: sets TEST_NODE_MODULES, where it is not set, to a folder of its own with the packages of
# docs/receivers/typescript/package-lock.json, which come from the npm registry once and stay in target/tools.
bring_node_modules() {
    local receiver=docs/receivers/typescript folder
    if [ -n "${TEST_NODE_MODULES:-}" ]; then
        say "Node packages: those of TEST_NODE_MODULES"
    else
        folder=$PWD/target/tools/node-$(cat "$receiver"/package*.json | sha256sum | cut -c 1-12)
        TEST_NODE_MODULES=$folder/node_modules
        has_modules "$TEST_NODE_MODULES" || install_modules "$folder" "$receiver"
    fi
    has_modules "$TEST_NODE_MODULES" || die "$TEST_NODE_MODULES lacks the packages of $receiver/package.json"
    export TEST_NODE_MODULES
}

has_modules() { (cd "$1" 2>/dev/null && node -e 'require("./standardwebhooks"); require("./libsql"); require("./typescript/package.json")' 2>/dev/null); }

install_modules() {
    say "bringing the packages of $2"
    rm -rf "$1"
    mkdir -p "$1"
    cp "$2"/package.json "$2"/package-lock.json "$2"/.npmrc "$1"
    (cd "$1" && npm ci --silent --no-audit --no-fund >&2) && return
    rm -rf "$1"
    die "the packages of $2 could not be installed: they need Node 18 or newer, npm and an npm registry; TEST_NODE_MODULES may name a node_modules that has them"
}
