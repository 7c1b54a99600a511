/* Every status has its own sentence, and no number is without one. */
#include "check.h"

int main(void) {
    for (int status = SK_OK; status <= SK_BAD_TABLE; status++) {
        const char *message = sk_message(status);
        CHECK(message != NULL && *message != '\0' && strcmp(message, "unknown status") != 0);
        for (int other = SK_OK; other < status; other++) {
            CHECK(strcmp(message, sk_message(other)) != 0);
        }
    }
    CHECK(strcmp(sk_message(-1), "unknown status") == 0);
    CHECK(strcmp(sk_message(SK_BAD_TABLE + 1), "unknown status") == 0);
    return 0;
}
