#pragma once
// Ctrl-C as a question that long work asks between its steps.

namespace tandem::cli {

/// While one lives, the first SIGINT or SIGTERM sets a flag (and ends a blocked read); the second
/// one ends the process at once. At most one at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The signal that came, 0 for none.
  int signal() const;
  bool raised() const { return signal() != 0; }
  /// Becomes readable with the first signal, for waits on several descriptors; -1 when the process
  /// has no descriptors left.
  int descriptor() const { return read_end_; }
  /// Forgets a SIGINT, for a conversation that goes on.
  void clear();

 private:
  int read_end_ = -1;
  int write_end_ = -1;
};

}  // namespace tandem::cli
