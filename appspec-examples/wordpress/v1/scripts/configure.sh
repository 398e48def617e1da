#!/bin/sh
# AfterInstall: the database, and the site in Apache's configuration. All of it can be done again.
set -eu

systemctl enable --quiet --now mariadb
mariadb <<'SQL'
CREATE DATABASE IF NOT EXISTS wordpress_site CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'www-data'@'localhost' IDENTIFIED VIA unix_socket;
GRANT ALL PRIVILEGES ON wordpress_site.* TO 'www-data'@'localhost';
SQL

a2dissite -q 000-default
a2ensite -q wordpress-site
apache2ctl configtest
