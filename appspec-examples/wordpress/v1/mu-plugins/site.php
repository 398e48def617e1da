<?php
/*
 * Plugin Name: Site
 * Description: What this site adds to WordPress.
 * Version: 1
 */

// Which version answers; validate.sh asks for it.
header('X-Site-Version: 1');
