// What: A cursor is valid for its owner only.
// Test: fuzz cursor
// In: src/http/cursor.c

@@ expression parts, n, digest; @@
checksum_of(...) { <...
- sha256_parts(parts, n, digest)
+ sha256_parts(parts, n - 1, digest) /* the owner is the last */
...> }
