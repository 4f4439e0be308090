// What: A body is read up to the record that ends it.
// Test: faults test_broken_peer.BrokenPeer.test_cut_at_every_byte
// In: src/fcgi/request_reader.c

@@ expression in; @@
read_body(...) { <...
- FCGX_GetChar(in) == EOF && FCGX_GetError(in) == 0
+ true
...> }
