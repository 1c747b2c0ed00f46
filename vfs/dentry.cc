#include "vfs/dentry.h"

#include "absl/hash/hash.h"
#include "vfs/dentry_cache.h"
#include "vfs/inode.h"

namespace msentry::vfs {

namespace {
std::atomic<uint64_t> rename_sequence{0};
}

size_t Dentry::Hash::operator()(std::string_view s) const {
  return absl::Hash<std::string_view>()(s);
}
size_t Dentry::Hash::operator()(const Dentry* d) const {
  return (*this)(std::string_view(d->name_));
}
bool Dentry::Equal::operator()(const Dentry* a, std::string_view b) const { return a->name_ == b; }

Dentry::Dentry(RefPtr<Dentry> parent, std::string_view name, RefPtr<Inode> inode)
    : inode_(inode.Release()), parent_(std::move(parent)), name_(name) {}

RefPtr<Dentry> Dentry::MakeRoot(RefPtr<Inode> inode) {
  RefPtr<Dentry> d = MakeRef<Dentry>(nullptr, "/", std::move(inode));
  d->root_ = true;
  return d;
}

RefPtr<Dentry> Dentry::MakeUnnamed(RefPtr<Inode> inode, std::string name) {
  RefPtr<Dentry> d = MakeRef<Dentry>(nullptr, name, std::move(inode));
  d->unnamed_ = true;
  return d;
}

Dentry::~Dentry() {
  if (Inode* inode = inode_.load(std::memory_order_relaxed)) inode->Unref();
  // A chain of removed directories can be as long as a guest cares to make it, each kept only by
  // its child: take it apart in a loop, not by recursion. A count of one is ours, and nobody can
  // find an unhashed dentry to raise it.
  RefPtr<Dentry> up = std::move(parent_);
  while (up && up->ref_count() == 1) {
    RefPtr<Dentry> next = std::move(up->parent_);
    up = std::move(next);
  }
}

RefPtr<Dentry> Dentry::parent() const {
  MutexLock lock(mutex_);
  return parent_;
}

std::string Dentry::name() const {
  MutexLock lock(mutex_);
  return name_;
}

RefPtr<Dentry> Dentry::ParentAndName(std::string* name) const {
  MutexLock lock(mutex_);
  *name = name_;
  return parent_;
}

bool Dentry::IsInside(const Dentry& ancestor) const {
  RefPtr<const Dentry> d(this);
  while (d) {
    if (d.get() == &ancestor) return true;
    d = d->parent();
  }
  return false;
}

RefPtr<Dentry> Dentry::FindCached(std::string_view name) {
  MutexLock lock(mutex_);
  if (!children_) return nullptr;
  auto it = children_->find(name);
  if (it == children_->end()) return nullptr;
  Dentry* child = *it;
  if (!child->referenced_.load(std::memory_order_relaxed)) {
    child->referenced_.store(true, std::memory_order_relaxed);
  }
  return RefPtr<Dentry>(child);
}

void Dentry::HashChild(Dentry* child) {
  child->Ref();  // the table's
  {
    MutexLock lock(mutex_);
    if (!children_) children_ = std::make_unique<Children>();
    bool inserted = children_->insert(child).second;
    CHECK(inserted);
    child->hashed_.store(true, std::memory_order_release);
    DentryCache::Get().Insert(child);
  }
}

bool Dentry::UnhashChild(Dentry* child) {
  {
    MutexLock lock(mutex_);
    if (!child->hashed_.load(std::memory_order_relaxed)) return false;
    if (!children_ || children_->erase(child) == 0) return false;
    if (children_->empty()) children_.reset();
    child->hashed_.store(false, std::memory_order_release);
    DentryCache::Get().Remove(child);
  }
  child->Unref();  // the table's; our caller has one of its own
  return true;
}

RefPtr<Dentry> Dentry::AddChild(std::string_view name, RefPtr<Inode> inode, bool hash) {
  RefPtr<Dentry> child = MakeRef<Dentry>(RefPtr<Dentry>(this), name, std::move(inode));
  if (hash) {
    HashChild(child.get());
    DentryCache::Get().Shrink();
  }
  return child;
}

void Dentry::Instantiate(RefPtr<Inode> inode, bool hash) {
  CHECK(negative());
  inode_.store(inode.Release(), std::memory_order_release);
  if (hash && !hashed_.load(std::memory_order_acquire)) {
    if (RefPtr<Dentry> up = parent()) up->HashChild(this);
  }
}

void Dentry::Unhash(bool deleted) {
  if (deleted) deleted_.store(true, std::memory_order_release);
  RefPtr<Dentry> self(this);
  if (RefPtr<Dentry> up = parent()) up->UnhashChild(this);
}

void Dentry::MoveTo(const RefPtr<Dentry>& new_parent, std::string_view new_name) {
  RefPtr<Dentry> self(this);
  RefPtr<Dentry> old_parent = parent();
  bool was_hashed = old_parent->UnhashChild(this);
  if (RefPtr<Dentry> target = new_parent->FindCached(new_name)) target->Unhash(true);
  RefPtr<Dentry> drop = new_parent;
  {
    MutexLock lock(mutex_);
    parent_.swap(drop);
    name_ = new_name;
  }
  if (was_hashed) new_parent->HashChild(this);
  if (inode() && inode()->IsDir()) rename_sequence.fetch_add(1, std::memory_order_acq_rel);
}

void Dentry::ExchangeWith(Dentry& other) {
  RefPtr<Dentry> keep(this), keep_other(&other);
  std::string my_name, other_name;
  RefPtr<Dentry> my_parent = ParentAndName(&my_name);
  RefPtr<Dentry> other_parent = other.ParentAndName(&other_name);
  bool my_hash = my_parent->UnhashChild(this);
  bool other_hash = other_parent->UnhashChild(&other);
  {
    MutexLock lock(mutex_);
    parent_ = other_parent;
    name_ = other_name;
  }
  {
    MutexLock lock(other.mutex_);
    other.parent_ = my_parent;
    other.name_ = my_name;
  }
  if (my_hash) other_parent->HashChild(this);
  if (other_hash) my_parent->HashChild(&other);
  rename_sequence.fetch_add(1, std::memory_order_acq_rel);
}

RefPtr<Dentry> Dentry::AnyChild() const {
  MutexLock lock(mutex_);
  return children_ ? RefPtr<Dentry>(*children_->begin()) : nullptr;
}

void Dentry::PruneChildren() {
  // Down to a leaf, take it out, up again: trees can be deeper than our stack.
  RefPtr<Dentry> at(this);
  for (;;) {
    if (RefPtr<Dentry> child = at->AnyChild()) {
      at = std::move(child);
      continue;
    }
    if (at.get() == this) return;
    RefPtr<Dentry> up = at->parent();
    if (!up->UnhashChild(at.get())) return;  // a racing removal: what is left is not ours
    at = std::move(up);
  }
}

uint64_t Dentry::RenameSequence() { return rename_sequence.load(std::memory_order_acquire); }

}  // namespace msentry::vfs
