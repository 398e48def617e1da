<?php
/*
 * Plugin Name: Site
 * Description: What this site adds to WordPress.
 * Version: 2
 */

require_once __DIR__ . '/site/footer.php';

// Which version answers; validate.sh asks for it.
header('X-Site-Version: 2');
