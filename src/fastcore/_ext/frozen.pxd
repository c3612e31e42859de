# What objects needs of the views: decoding text that has been checked.

cdef object decode(bytes text)
cdef object decode_slice(const unsigned char *at, const unsigned char *end)
