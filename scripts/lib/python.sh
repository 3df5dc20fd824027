# Sourced after common.sh and install.sh: a Python with the libraries that receivers use.

# bring_python: sets TEST_PYTHON, where it is not set, to a Python of its own with the packages of e2e/libraries/requirements.txt,
# of e2e/openapi/requirements.txt and of the documented receiver, which come from the Python package index once and stay in target/tools.
bring_python() {
    local requirements=(e2e/libraries/requirements.txt e2e/openapi/requirements.txt docs/receivers/python/requirements.txt) folder
    if [ -n "${TEST_PYTHON:-}" ]; then
        say "Python: the one of TEST_PYTHON"
    else
        folder=$PWD/target/tools/python-$(cat "${requirements[@]}" | sha256sum | cut -c 1-12)
        has_libraries "$folder/bin/python" || install_libraries "$folder" "${requirements[@]}"
        TEST_PYTHON=$folder/bin/python
    fi
    has_libraries "$TEST_PYTHON" || die "$TEST_PYTHON lacks the packages of ${requirements[*]}"
    export TEST_PYTHON
}

has_libraries() { "$1" -c 'import standardwebhooks, cryptography, openapi_spec_validator, openapi_python_client, schemathesis' 2>/dev/null; }

install_libraries() {
    local folder=$1; shift
    say "bringing the packages of $*"
    rm -rf "$folder"
    python3 -m venv "$folder" &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: "${@/#/-r}" && return
    rm -rf "$folder"
    die "the packages of $* could not be installed: they need Python 3.11 or newer and a Python package index; TEST_PYTHON may name a Python that has them"
}
