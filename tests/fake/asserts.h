/* asserts.h - cmocka, and its assertions that have another name from version 2.0 on. */
#ifndef ASSERTS_H
#define ASSERTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef assert_int_in_range /* 2.0 deprecates the other */
#undef assert_in_range
#define assert_in_range assert_int_in_range
#endif

#endif
