"""Finds its way through JSON text without decoding it: header only, for frozen, intake and objects.

`scan_*` check everything that they pass (RFC 8259, UTF-8 included) and stop at the first byte that is wrong. `pass_*`
and `find_*` walk text that has been checked once and believe it. No user code runs here, and nothing is allocated but
in `text_of`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    object PyUnicode_FromStringAndSize(const char *text, Py_ssize_t length)
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t length, const char *errors)
    object PyBytes_FromStringAndSize(const char *text, Py_ssize_t length)

ctypedef const unsigned char *Place

cdef enum:
    MAX_LEVELS = 256        # of nesting, as in document.pxd
    MAX_DIGITS = 1024       # characters of a number
    ESCAPED = 1             # the string has a backslash
    WIDE = 2                # the string is not ASCII

cdef struct Scan:
    Place begin
    Place end
    Place at                # the next byte; where it went wrong, if it did
    Place named             # the end of the last name that was passed, its quote included
    const char *wrong       # what is wrong there, NULL while nothing is


cdef inline Scan scan_over(bytes text) noexcept:
    cdef Scan scan
    scan.begin = scan.at = scan.named = <Place>PyBytes_AS_STRING(text)
    scan.end = scan.begin + PyBytes_GET_SIZE(text)
    scan.wrong = NULL
    return scan


cdef inline int complain(Scan *scan) except -1:
    from fastcore.errors import ObjectError
    raise ObjectError(f"no JSON at byte {scan.at - scan.begin}: {(<bytes>scan.wrong).decode()}")


cdef inline bint fail(Scan *scan, Place at, const char *what) noexcept nogil:
    scan.at = at
    scan.wrong = what
    if at >= scan.end:
        scan.wrong = b"the text ends too early"
    return False


cdef inline unsigned char next_byte(Scan *scan) noexcept nogil:
    """The next byte that is no white space, or 0 at the end."""
    cdef unsigned char c
    while scan.at < scan.end:
        c = scan.at[0]
        if c != c" " and c != c"\n" and c != c"\r" and c != c"\t":
            return c
        scan.at += 1
    return 0


cdef inline Place plain_run(Place at, Place end) noexcept nogil:
    """Past eight bytes at a time that mean nothing in a string: ASCII, but no quote, backslash or control."""
    cdef uint64_t word = 0, quote, slash, low
    while end - at >= 8:
        memcpy(&word, at, 8)
        quote = word ^ 0x2222222222222222ULL
        slash = word ^ 0x5C5C5C5C5C5C5C5CULL
        low = word - 0x2020202020202020ULL
        quote = (quote - 0x0101010101010101ULL) & ~quote
        slash = (slash - 0x0101010101010101ULL) & ~slash
        if (quote | slash | low | word) & 0x8080808080808080ULL:
            return at
        at += 8
    return at


cdef inline int width_of(Place at, Place end) noexcept nogil:
    """The length of the UTF-8 sequence here, 0 if it is none."""
    cdef unsigned char lead = at[0], low = 0x80, high = 0xBF
    cdef int width, i
    if 0xC2 <= lead <= 0xDF:
        width = 2
    elif 0xE0 <= lead <= 0xEF:
        width = 3
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F         # surrogates
    elif 0xF0 <= lead <= 0xF4:
        width = 4
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    else:
        return 0
    if end - at < width or not low <= at[1] <= high:
        return 0
    for i in range(2, width):
        if at[i] & 0xC0 != 0x80:
            return 0
    return width


cdef inline int hex_of(unsigned char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    c |= 0x20
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef inline bint scan_string(Scan *scan, int *flags) noexcept nogil:
    """Past a string that begins here; `flags` gets ESCAPED and WIDE."""
    cdef Place at = scan.at + 1, end = scan.end
    cdef unsigned char c
    cdef int width, i
    flags[0] = 0
    while True:
        at = plain_run(at, end)
        if at >= end:
            return fail(scan, end, b"")
        c = at[0]
        if c == c'"':
            scan.at = at + 1
            return True
        if c == c"\\":
            flags[0] |= ESCAPED
            if at + 1 >= end:
                return fail(scan, end, b"")
            c = at[1]
            if c == c"u":
                for i in range(2, 6):
                    if at + i >= end:
                        return fail(scan, end, b"")
                    if hex_of(at[i]) < 0:
                        return fail(scan, at, b"an unknown escape")
                at += 6
            elif c in (c'"', c"\\", c"/", c"b", c"f", c"n", c"r", c"t"):
                at += 2
            else:
                return fail(scan, at, b"an unknown escape")
        elif c < 0x20:
            return fail(scan, at, b"a control character in a string")
        elif c < 0x80:
            at += 1
        else:
            flags[0] |= WIDE
            width = width_of(at, end)
            if not width:
                return fail(scan, at, b"this is not UTF-8")
            at += width


cdef inline Place digits(Place at, Place end) noexcept nogil:
    while at < end and c"0" <= at[0] <= c"9":
        at += 1
    return at


cdef inline bint scan_number(Scan *scan) noexcept nogil:
    cdef Place start = scan.at, at = scan.at, end = scan.end, exponent
    if at[0] == c"-":
        at += 1
    if at >= end:
        return fail(scan, end, b"")
    if at[0] == c"0":
        at += 1
    elif c"1" <= at[0] <= c"9":
        at = digits(at, end)
    else:
        return fail(scan, start, b"a value was expected")
    if end - at >= 2 and at[0] == c"." and c"0" <= at[1] <= c"9":
        at = digits(at + 1, end)
    if at < end and (at[0] == c"e" or at[0] == c"E"):
        exponent = at + 1
        if exponent < end and (exponent[0] == c"+" or exponent[0] == c"-"):
            exponent += 1
        if exponent < end and c"0" <= exponent[0] <= c"9":
            at = digits(exponent, end)
    if at - start > MAX_DIGITS:
        return fail(scan, start, b"a number of more than 1024 characters")
    scan.at = at
    return True


cdef inline bint scan_word(Scan *scan, const char *word, int length) noexcept nogil:
    if scan.end - scan.at < length or memcmp(scan.at, word, length) != 0:
        return fail(scan, scan.at, b"a value was expected")
    scan.at += length
    return True


cdef inline bint scan_name(Scan *scan, int *flags) noexcept nogil:
    """Past a member's name and its colon, to its value."""
    if next_byte(scan) != c'"':
        return fail(scan, scan.at, b"a name was expected")
    if not scan_string(scan, flags):
        return False
    scan.named = scan.at
    if next_byte(scan) != c":":
        return fail(scan, scan.at, b"':' was expected")
    scan.at += 1
    return True


cdef inline int scan_more(Scan *scan, unsigned char close) noexcept nogil:
    """After a member or an item: 1 past a comma, 0 past the closing bracket, -1 if it is neither."""
    cdef unsigned char c = next_byte(scan)
    if c == c"," or c == close:
        scan.at += 1
        return c == c","
    if close == c"}":
        fail(scan, scan.at, b"',' or '}' was expected")
    else:
        fail(scan, scan.at, b"',' or ']' was expected")
    return -1


cdef inline bint scan_value(Scan *scan, int level) noexcept nogil:
    """Past one value of any kind, checked."""
    cdef unsigned char c = next_byte(scan)
    cdef int more = 1, flags = 0
    if c == c'"':
        return scan_string(scan, &flags)
    if c == c"{" or c == c"[":
        if level >= MAX_LEVELS:
            return fail(scan, scan.at, b"nested deeper than 256 levels")
        scan.at += 1
        if next_byte(scan) == (c"}" if c == c"{" else c"]"):
            scan.at += 1
            return True
        while more > 0:
            if c == c"{" and not scan_name(scan, &flags):
                return False
            if not scan_value(scan, level + 1):
                return False
            more = scan_more(scan, c"}" if c == c"{" else c"]")
        return more == 0
    if c == c"-" or c"0" <= c <= c"9":
        return scan_number(scan)
    if c == c"t":
        return scan_word(scan, b"true", 4)
    if c == c"f":
        return scan_word(scan, b"false", 5)
    if c == c"n":
        return scan_word(scan, b"null", 4)
    return fail(scan, scan.at, b"a value was expected")


cdef inline bint scan_end(Scan *scan) noexcept nogil:
    """Whether nothing but white space follows."""
    next_byte(scan)
    return True if scan.at == scan.end else fail(scan, scan.at, b"something follows the end")


cdef inline Place pass_space(Place at) noexcept nogil:
    while at[0] in (c" ", c"\n", c"\r", c"\t"):
        at += 1
    return at


cdef inline Place pass_string(Place at, Place end, int *flags) noexcept nogil:
    """Past a string; `flags` gets ESCAPED and WIDE."""
    at += 1
    flags[0] = 0
    while True:
        at = plain_run(at, end)
        if at[0] == c'"':
            return at + 1
        if at[0] == c"\\":
            flags[0] |= ESCAPED
            at += 2
        else:
            if at[0] & 0x80:
                flags[0] |= WIDE
            at += 1


cdef inline Place pass_value(Place at, Place end) noexcept nogil:
    """Past one value."""
    cdef int depth = 0, flags = 0
    cdef unsigned char c
    at = pass_space(at)
    while True:
        c = at[0]
        if c == c'"':
            at = pass_string(at, end, &flags)
        elif c == c"{" or c == c"[":
            depth += 1
            at += 1
        elif c == c"}" or c == c"]":
            depth -= 1
            at += 1
        else:
            at += 1
            if depth == 0:      # a number or a word: it ends where it ends
                while at < end and at[0] not in (c",", c"}", c"]", c" ", c"\n", c"\r", c"\t"):
                    at += 1
        if depth == 0:
            return at


cdef inline object text_of(Place at, Place end, int flags):
    """What the characters between two quotes say."""
    cdef Py_ssize_t length = end - at
    if not flags & ESCAPED:
        return PyUnicode_FromStringAndSize(<const char *>at, length)
    cdef bytes room = PyBytes_FromStringAndSize(NULL, length)
    cdef unsigned char *start = <unsigned char *>PyBytes_AS_STRING(room)
    cdef unsigned char *out = unescaped(at, end, start)
    return PyUnicode_DecodeUTF8(<const char *>start, out - start, b"surrogatepass")


cdef inline unsigned char *unescaped(Place at, Place end, unsigned char *out) noexcept nogil:
    """Write the characters without their escapes, and return where that ends; they never get longer."""
    cdef unsigned char c
    cdef unsigned int point, low
    while at < end:
        c = at[0]
        at += 1
        if c != c"\\":
            out[0] = c
            out += 1
            continue
        c = at[0]
        at += 1
        if c != c"u":
            out[0] = plain_escape(c)
            out += 1
            continue
        point = code_unit(at)
        at += 4
        if 0xD800 <= point <= 0xDBFF and end - at >= 6 and at[0] == c"\\" and at[1] == c"u":
            low = code_unit(at + 2)
            if 0xDC00 <= low <= 0xDFFF:
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
                at += 6
        out = put_utf8(out, point)
    return out


cdef inline unsigned char plain_escape(unsigned char c) noexcept nogil:
    if c == c"b":
        return 8
    if c == c"f":
        return 12
    if c == c"n":
        return 10
    if c == c"r":
        return 13
    return 9 if c == c"t" else c


cdef inline unsigned int code_unit(Place at) noexcept nogil:
    return <unsigned int>(hex_of(at[0]) << 12 | hex_of(at[1]) << 8 | hex_of(at[2]) << 4 | hex_of(at[3]))


cdef inline unsigned char *put_utf8(unsigned char *out, unsigned int point) noexcept nogil:
    if point < 0x80:
        out[0] = <unsigned char>point
        return out + 1
    if point < 0x800:
        out[0] = <unsigned char>(0xC0 | point >> 6)
        out[1] = <unsigned char>(0x80 | point & 0x3F)
        return out + 2
    if point < 0x10000:
        out[0] = <unsigned char>(0xE0 | point >> 12)
        out[1] = <unsigned char>(0x80 | point >> 6 & 0x3F)
        out[2] = <unsigned char>(0x80 | point & 0x3F)
        return out + 3
    out[0] = <unsigned char>(0xF0 | point >> 18)
    out[1] = <unsigned char>(0x80 | point >> 12 & 0x3F)
    out[2] = <unsigned char>(0x80 | point >> 6 & 0x3F)
    out[3] = <unsigned char>(0x80 | point & 0x3F)
    return out + 4
