<?php
// Debian's wp-config.php reads this file for every name that the site is called by.
define('DB_NAME', 'wordpress_site');
// The server knows Apache's processes by their user: there is no password that could leak.
define('DB_USER', 'www-data');
define('DB_PASSWORD', '');
define('DB_HOST', 'localhost');
define('DB_CHARSET', 'utf8mb4');

define('WP_CONTENT_DIR', '/var/lib/wordpress/wp-content');
// Plugins that are deployed, and that nobody can switch off in the browser.
define('WPMU_PLUGIN_DIR', '/srv/wordpress-site/mu-plugins');
// What is on the host is what was deployed or packaged.
define('DISALLOW_FILE_MODS', true);
