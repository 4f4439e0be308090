SELECT; -- the program of before reads U+0001, too
