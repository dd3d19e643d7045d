//go:build tensorrt && cgo

// Measuring: lanes of queries in flight.

#include "shim_lane.h"

#include <limits>

using namespace shim;

namespace {

struct Sample {
  double start, end, enqueue, h2d, compute, d2h, end_to_end;
  Clock::time_point submitted, completed;
  int32_t lane;
};

struct BenchState : Counted<kBenchers> {
  std::shared_ptr<EngineState> engine;
  trt_bench_options options;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::unique_ptr<Stream> main;  // where a window begins
  size_t free_before = 0, free_least = 0;
  uint64_t context_bytes = 0;
  std::vector<double> enqueue, h2d, compute, d2h, end_to_end, start;
  std::vector<int32_t> stream;
  ~BenchState() {
    try {
      Current current(engine->device());
      lanes.clear();
      main.reset();
    } catch (...) {
    }
  }

  void prepare() {
    main = std::make_unique<Stream>();
    for (auto& l : lanes) l->open(options);
    free_least = free_memory();
    context_bytes = free_before > free_least ? free_before - free_least : 0;
  }

  // Runs one query and waits for it.
  void query() {
    if (!main || lanes.size() != 1 || options.depth != 1) fail(TRT_E_ARGUMENT, "single queries need one stream, a depth of 1, and to be prepared");
    Lane& l = *lanes[0];
    l.submit(options.transfers != 0);
    l.ended(options.transfers != 0).sync();
    l.queries[0].running = false;
  }

  void run(const trt_window& w, const int32_t* abort, trt_samples* out) {
    const bool transfers = options.transfers != 0;
    auto begun = Clock::now();
    if (!main) fail(TRT_E_ARGUMENT, "not prepared");
    Event zero(false);
    zero.record(*main);
    for (auto& l : lanes)
      for (auto* s : {l->in.get(), l->compute.get(), l->out.get()}) check(cu.stream_wait(s->s, zero.e, 0), "cuStreamWaitEvent");
    std::vector<Sample> samples;
    samples.reserve(1 << 14);
    std::vector<int64_t> counted(lanes.size());
    int64_t warmup = 0;
    // The earliest and the latest start on the device of the queries that count. On a busy
    // host the first of them starts well after the warm-up, and the window with it.
    double opened = std::numeric_limits<double>::infinity(), reached = 0;
    auto collect = [&](size_t i) {
      Lane& l = *lanes[i];
      Lane::Query& q = l.queries[l.next];
      if (!q.running) return;
      l.ended(transfers).sync();
      auto completed = Clock::now();
      q.running = false;
      Sample s{};
      s.lane = static_cast<int32_t>(i);
      double compute_start = elapsed(zero, *q.at[Lane::kStart]);
      s.compute = elapsed(*q.at[Lane::kStart], *q.at[Lane::kEnd]);
      s.start = compute_start;
      if (transfers) {
        s.h2d = elapsed(*q.at[Lane::kInStart], *q.at[Lane::kInEnd]);
        s.d2h = elapsed(*q.at[Lane::kOutStart], *q.at[Lane::kOutEnd]);
        s.start = elapsed(zero, *q.at[Lane::kInStart]);
        s.end = elapsed(zero, *q.at[Lane::kOutEnd]);
      } else {
        s.end = elapsed(zero, *q.at[Lane::kEnd]);
      }
      if (compute_start < w.warmup) {
        ++warmup;
        return;
      }
      opened = std::min(opened, compute_start);
      reached = std::max(reached, compute_start);
      s.enqueue = seconds(q.enqueue_end - q.enqueue_start);
      s.end_to_end = seconds(completed - q.submitted);
      s.submitted = q.submitted;
      s.completed = completed;
      samples.push_back(s);
      ++counted[i];
    };
    auto drain = [&] {
      for (size_t i = 0; i < lanes.size(); ++i)
        for (size_t d = 0; d < lanes[i]->queries.size(); ++d) {
          collect(i);
          lanes[i]->next = (lanes[i]->next + 1) % lanes[i]->queries.size();
        }
    };
    auto over = [&] {
      if (__atomic_load_n(abort, __ATOMIC_RELAXED)) fail(TRT_E_CANCELED, "stopped");
      if (samples.empty()) return false;
      if (w.max_duration > 0 && seconds(Clock::now() - begun) >= w.warmup + w.max_duration) return true;
      bool enough = reached >= opened + w.min_duration;
      for (int64_t n : counted) enough = enough && n >= w.min_queries;
      return enough;
    };
    // Lanes that wait for their answer each: whichever is done goes on.
    auto independently = [&] {
      for (auto& l : lanes) l->submit(transfers);
      while (!over()) {
        bool idle = true;
        for (size_t i = 0; i < lanes.size(); ++i) {
          if (!lanes[i]->ended(transfers).done()) continue;
          idle = false;
          collect(i);
          lanes[i]->submit(transfers);
        }
        if (!idle || options.spin_wait) continue;
        size_t oldest = 0;
        for (size_t i = 1; i < lanes.size(); ++i)
          if (lanes[i]->queries[0].submitted < lanes[oldest]->queries[0].submitted) oldest = i;
        lanes[oldest]->ended(transfers).sync();
      }
    };
    try {
      if (options.depth == 1 && lanes.size() > 1) {
        independently();
      } else {
        while (!over()) {
          for (auto& l : lanes) l->submit(transfers);
          for (size_t i = 0; i < lanes.size(); ++i) collect(i);
        }
      }
      drain();
    } catch (...) {
      for (auto& l : lanes) {  // leave nothing in flight
        for (auto* s : {l->in.get(), l->compute.get(), l->out.get()}) cu.stream_sync(s->s);
        for (auto& q : l->queries) q.running = false;
      }
      throw;
    }
    free_least = std::min(free_least, free_memory());
    std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.start < b.start; });
    size_t n = samples.size();
    for (auto* v : {&enqueue, &h2d, &compute, &d2h, &end_to_end, &start}) v->assign(n, 0);
    stream.assign(n, 0);
    double last = 0;
    Clock::time_point first_submitted = Clock::time_point::max(), last_completed = Clock::time_point::min();
    for (size_t i = 0; i < n; ++i) {
      const Sample& s = samples[i];
      enqueue[i] = s.enqueue;
      h2d[i] = s.h2d;
      compute[i] = s.compute;
      d2h[i] = s.d2h;
      end_to_end[i] = s.end_to_end;
      start[i] = s.start - samples[0].start;
      stream[i] = s.lane;
      last = std::max(last, s.end);
      first_submitted = std::min(first_submitted, s.submitted);
      last_completed = std::max(last_completed, s.completed);
    }
    *out = trt_samples{};
    out->queries = static_cast<int64_t>(n);
    out->warmup = warmup;
    out->wall = n ? last - samples[0].start : 0;
    out->span = n ? seconds(last_completed - first_submitted) : 0;
    out->host_wall = seconds(Clock::now() - begun);
    out->context_bytes = context_bytes;
    out->peak_bytes = engine->free_before > free_least ? engine->free_before - free_least : 0;
    out->enqueue = enqueue.data();
    out->h2d = transfers ? h2d.data() : nullptr;
    out->compute = compute.data();
    out->d2h = transfers ? d2h.data() : nullptr;
    out->end_to_end = end_to_end.data();
    out->start = start.data();
    out->stream = stream.data();
  }
};

}  // namespace

struct trt_bench {
  BenchState state;
};

extern "C" {

int32_t trt_bench_new(trt_engine* e, const trt_bench_options* o, trt_bench** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(e->state->device());
    auto b = std::make_unique<trt_bench>();
    b->state.engine = e->state;
    b->state.options = *o;
    b->state.free_before = free_memory();
    for (int32_t i = 0; i < o->streams; ++i) b->state.lanes.push_back(std::make_unique<Lane>(e->state, *o));
    *out = b.release();
  });
}
void trt_bench_free(trt_bench* b) { delete b; }

int32_t trt_bench_link(trt_bench* b, const char* input, const char* output, const void* start, size_t size, size_t most, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    for (auto& l : b->state.lanes) l->link(input, output, start, size, most);
  });
}

int32_t trt_bench_input(trt_bench* b, int32_t step, const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size,
                        trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    for (auto& l : b->state.lanes) l->step(step).set_input(name, rank, dims, data, size);
  });
}

int32_t trt_bench_prepare(trt_bench* b, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.prepare();
  });
}

int32_t trt_bench_run(trt_bench* b, const trt_window* w, const int32_t* abort, trt_samples* out, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.run(*w, abort, out);
  });
}

int32_t trt_bench_query(trt_bench* b, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.query();
  });
}

int32_t trt_bench_output(trt_bench* b, int32_t step, const char* name, trt_tensor_info* out, size_t* size, trt_error* err) {
  return guarded(err, [&] { b->state.lanes[0]->step(step).describe_output(name, out, size); });
}

int32_t trt_bench_read(trt_bench* b, int32_t step, const char* name, void* data, size_t size, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.lanes[0]->step(step).read_output(name, data, size);
  });
}

}  // extern "C"
