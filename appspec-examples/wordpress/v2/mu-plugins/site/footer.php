<?php
add_action('wp_footer', function () {
    echo '<p>Deployed as version 2.</p>';
});
