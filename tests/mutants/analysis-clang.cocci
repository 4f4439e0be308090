// What: nothing is looked for behind a pointer that is NULL
// Test: analysis clang
// In: src/auth/auth.c

@@ expression a; @@
auth_close(...) { <...
  if (!a)
-     return;
+     a = NULL;
...> }
