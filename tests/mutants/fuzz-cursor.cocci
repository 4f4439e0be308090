// What: A cursor is valid for its owner only.
// Test: fuzz cursor
// In: src/api/native/native_cursor.c

@@ expression parts, n, digest; @@
native_position_make(...) { <...
- sha256_parts(parts, n, digest)
+ sha256_parts(parts, n - 1, digest) /* the user is the last */
...> }
