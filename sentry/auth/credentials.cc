#include "sentry/auth/credentials.h"

#include <algorithm>

namespace msentry::auth {

RefPtr<Credentials> Credentials::Clone() const {
  RefPtr<Credentials> copy = MakeRef<Credentials>();
  copy->uid = uid, copy->euid = euid, copy->suid = suid, copy->fsuid = fsuid;
  copy->gid = gid, copy->egid = egid, copy->sgid = sgid, copy->fsgid = fsgid;
  copy->groups = groups;
  copy->permitted = permitted, copy->effective = effective, copy->inheritable = inheritable;
  copy->ambient = ambient, copy->bounding = bounding;
  copy->securebits = securebits, copy->no_new_privs = no_new_privs;
  return copy;
}

bool Credentials::InGroup(Gid wanted) const {
  return wanted == fsgid || std::binary_search(groups.begin(), groups.end(), wanted);
}

}  // namespace msentry::auth
