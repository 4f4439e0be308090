// What: The first record of a connection begins a request, or libfcgi does not read the connection.
// Test: faults test_broken_peer.BrokenPeer.test_get_values
// Test: faults test_broken_peer.BrokenPeer.test_every_number_wrong
// Test: faults test_broken_peer.BrokenPeer.test_aborted_anywhere
// In: src/fcgi/request_reader.c

@@ identifier good, r; @@
fcgi_request_peek(...) { <...
  memcpy(&r, ...);
  ...
  if (
-     !good
+     !good && r.header.version != FCGI_VERSION_1
  ) return;
...> }
