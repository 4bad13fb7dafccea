/* Python with ThreadSanitizer in the process from its start: preloading the sanitizer into an ordinary one crashes. */
#include <Python.h>

int main(int n, char **words) { return Py_BytesMain(n, words); }
