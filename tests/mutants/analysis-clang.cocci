// What: A NULL pointer is not dereferenced.
// Test: analysis clang
// In: src/auth/auth.c

@@ expression a; @@
auth_close(...) { <...
  if (!a)
-     return;
+     a = NULL;
...> }
