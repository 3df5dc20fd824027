#!/bin/sh
# Run by the Postgres image on an empty data folder: one database per service, owned by a user that can reach no other.
set -eu

make_database() {
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
        --set=name="$1" --set=password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database pay_service "$PAY_SERVICE_DB_PASSWORD"
make_database notifier "$NOTIFIER_DB_PASSWORD"
make_database account_service "$ACCOUNT_SERVICE_DB_PASSWORD"
