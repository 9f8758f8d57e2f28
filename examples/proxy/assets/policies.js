// Applies what is changed at once, without loading the page.
"use strict";
