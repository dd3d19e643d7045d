//go:build tensorrt && cgo

// A stream of queries, each a step of a chain.
#ifndef PLANCAST_SHIM_LANE_H
#define PLANCAST_SHIM_LANE_H

#include "shim_execution.h"

namespace shim {

// A lane is one stream of queries, with streams of its own for copying in, computing
// and copying out, so that the copies of one query run beside the computing of another.
//
// Its queries run the steps of a chain in turn: one step, or several that hand tensors
// on in device memory. A CUDA graph needs a context that stays as it was when the graph
// was captured, so that each step then has one of its own. Without graphs the steps
// share one, and a query begins with handing it the shapes of its step: what a
// generating program has to do as well.
struct Lane {
  enum { kInStart, kInEnd, kStart, kEnd, kOutStart, kOutEnd, kEvents };
  struct Query {
    std::unique_ptr<Event> at[kEvents];
    bool running = false;
    Clock::time_point submitted, enqueue_start, enqueue_end;
  };
  struct Step {
    Execution x;
    CUgraphExec graph = nullptr;
    Step(std::shared_ptr<EngineState> e, Context c) : x(std::move(e), std::move(c)) {}
    ~Step() {
      if (graph) cu.graph_exec_destroy(graph);
    }
  };
  // What one step leaves for the next. The first step's stays as it is, so that the
  // chain can begin again; the others' lie in two places in turn.
  struct Link {
    std::string input, output;
    DeviceBuffer start, turns[2];
    DeviceBuffer* before(size_t step) { return step == 0 ? &start : &turns[step % 2]; }
  };

  Lane(const std::shared_ptr<EngineState>& e, const trt_bench_options& o) : queries(o.depth) {
    shared = o.steps > 1 && !o.cuda_graph;
    Context context;
    for (int32_t i = 0; i < o.steps; ++i) {
      if (!context || !shared) context = make_context(*e, o.profile, o.steps > 1 && !shared ? &scratch : nullptr);
      steps.push_back(std::make_unique<Step>(e, context));
    }
  }

  Execution& step(int32_t i) {
    if (i < 0 || static_cast<size_t>(i) >= steps.size()) fail(TRT_E_ARGUMENT, "step %d of %zu", i, steps.size());
    return steps[i]->x;
  }

  void link(const char* input, const char* output, const void* data, size_t size, size_t most) {
    auto l = std::make_unique<Link>();
    l->input = input;
    l->output = output;
    l->start.reserve(size);
    if (size) check(cu.to_device(l->start.p, data, size), "cuMemcpyHtoD of what a chain starts with");
    for (auto& b : l->turns) b.reserve(most);
    for (size_t i = 0; i < steps.size(); ++i) {
      steps[i]->x.link(input, true, l->before(i));
      steps[i]->x.link(output, false, l->before(i + 1));
    }
    links.push_back(std::move(l));
  }

  // Streams are made after every lane's contexts, in the order in, compute, out: the
  // driver deals streams out to few hardware queues in turn, and lanes whose compute
  // streams share a queue hold each other up.
  void open(const trt_bench_options& o) {
    for (auto& s : steps) {
      s->x.prepare();
      if (o.transfers) stage(s->x);
    }
    for (size_t i = 0; i + 1 < steps.size(); ++i)
      for (auto& l : links) match(*l, i);
    in = std::make_unique<Stream>();
    compute = std::make_unique<Stream>();
    out = std::make_unique<Stream>();
    for (auto& q : queries)
      for (auto& ev : q.at) ev = std::make_unique<Event>(o.spin_wait != 0);
    // The first query does what may not be captured, such as allocating.
    for (auto& s : steps) {
      if (shared) s->x.apply();
      if (!s->x.enqueue(*compute)) fail(TRT_E_TENSORRT, "the first query failed");
      s->x.finish(*compute);
    }
    if (!o.cuda_graph) return;
    for (auto& s : steps) capture(*s);
  }

  // What a step leaves has to be what the next one takes.
  void match(const Link& l, size_t i) {
    auto& left = steps[i]->x.tensor(l.output.c_str(), false).dims;
    auto& taken = steps[i + 1]->x.tensor(l.input.c_str(), true).dims;
    if (left.nbDims != taken.nbDims || !std::equal(left.d, left.d + left.nbDims, taken.d))
      fail(TRT_E_ARGUMENT, "output %s of step %zu has another shape than input %s of the next", l.output.c_str(), i, l.input.c_str());
  }

  static void stage(Execution& x) {
    for (auto& t : x.tensors) {
      if (!t->moves()) continue;
      if (t->allocator) fail(TRT_E_UNSUPPORTED, "output %s has a shape only the run decides: measure without transfers", t->name.c_str());
      t->staging.reserve(t->bytes);
      if (t->input && t->bytes) check(cu.to_host(t->staging.p, t->device.p, t->bytes), "cuMemcpyDtoH");
    }
  }

  void capture(Step& s) {
    check(cu.capture_begin(compute->s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
    bool ok = s.x.enqueue(*compute);
    CUgraph g = nullptr;
    CUresult r = cu.capture_end(compute->s, &g);
    if (!ok || r != CUDA_SUCCESS) {
      if (g) cu.graph_destroy(g);
      fail(TRT_E_UNSUPPORTED, "the engine cannot be captured in a CUDA graph");
    }
    r = cu.graph_instantiate(&s.graph, g, 0);
    cu.graph_destroy(g);
    check(r, "cuGraphInstantiate");
  }

  void submit(bool transfers) {
    Query& q = queries[next];
    Step& s = *steps[turn];
    turn = (turn + 1) % steps.size();
    q.submitted = Clock::now();
    if (transfers) {
      q.at[kInStart]->record(*in);
      for (auto& t : s.x.tensors)
        if (t->input && t->moves()) check(cu.to_device_async(t->device.p, t->staging.p, t->bytes, in->s), "cuMemcpyHtoDAsync");
      q.at[kInEnd]->record(*in);
      check(cu.stream_wait(compute->s, q.at[kInEnd]->e, 0), "cuStreamWaitEvent");
    }
    q.at[kStart]->record(*compute);
    q.enqueue_start = Clock::now();
    if (s.graph) {
      check(cu.graph_launch(s.graph, compute->s), "cuGraphLaunch");
    } else {
      if (shared) s.x.apply();
      if (!s.x.enqueue(*compute)) fail(TRT_E_TENSORRT, "enqueueing a query failed");
    }
    q.enqueue_end = Clock::now();
    q.at[kEnd]->record(*compute);
    if (transfers) {
      check(cu.stream_wait(out->s, q.at[kEnd]->e, 0), "cuStreamWaitEvent");
      q.at[kOutStart]->record(*out);
      for (auto& t : s.x.tensors)
        if (!t->input && t->moves()) check(cu.to_host_async(t->staging.p, t->device.p, t->bytes, out->s), "cuMemcpyDtoHAsync");
      q.at[kOutEnd]->record(*out);
    }
    q.running = true;
    next = (next + 1) % queries.size();
  }

  // What the oldest query ends with.
  const Event& ended(bool transfers) const { return *queries[next].at[transfers ? kOutEnd : kEnd]; }

  bool shared = false;  // the steps have one context
  DeviceBuffer scratch;
  std::vector<std::unique_ptr<Link>> links;
  std::vector<std::unique_ptr<Step>> steps;  // die before the memory that they share
  size_t turn = 0;                           // of the next query's step
  std::unique_ptr<Stream> in, compute, out;
  std::vector<Query> queries;
  size_t next = 0;  // the oldest query, and the place of the next
};

}  // namespace shim

#endif
