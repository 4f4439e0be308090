# What: The index does not go into the values that bodies hold, so that memory does not follow their length.
# Test: unit json/doc
# In: src/json/validator.c
s/^    return shape->inside;$/    return shape->name ? shape->inside : json_nothing;/
