// The other rank of a link, for tests of cluster/: a process that sends back what it gets.

#include "cluster/grpc_transport.h"
#include "cluster/link_bench.h"

int main() {
  tandem::cluster::quiet_grpc_log();
  return tandem::cluster::run_link_peer();
}
