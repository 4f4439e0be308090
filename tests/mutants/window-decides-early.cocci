// What: Where all of what was read fits, older messages are read as well.
// Test: unit session/window
// In: src/session/window.c

@@ expression c; @@
choose(...) { <...
- fits(c, c->from[c->known])
+ false
...> }
