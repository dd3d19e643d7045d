package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// manifests reads every manifest into the type of its kind. Decoding is
// strict: a key that the API does not know, or twice, is an error.
func manifests(t *testing.T) map[string]meta.Object {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	out := map[string]meta.Object{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range bytes.Split(text, []byte("\n---\n")) {
			var kind meta.TypeMeta
			if err := yaml.Unmarshal(doc, &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			o := map[string]meta.Object{
				"v1/Namespace": &core.Namespace{}, "v1/ConfigMap": &core.ConfigMap{}, "v1/Service": &core.Service{},
				"v1/PersistentVolumeClaim": &core.PersistentVolumeClaim{}, "apps/v1/Deployment": &apps.Deployment{}, "apps/v1/DaemonSet": &apps.DaemonSet{},
				"networking.k8s.io/v1/NetworkPolicy": &networking.NetworkPolicy{}, "monitoring.coreos.com/v1/ServiceMonitor": &monitoring.ServiceMonitor{}, "monitoring.coreos.com/v1/PrometheusRule": &monitoring.PrometheusRule{},
			}[kind.APIVersion+"/"+kind.Kind]
			if o == nil {
				t.Errorf("%s: document %d is a %s %s, of which this test knows no type", file, i+1, kind.APIVersion, kind.Kind)
				continue
			}
			if err := decodeStrictly(doc, o); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if ns := o.GetNamespace(); kind.Kind != "Namespace" && ns != "plancast" {
				t.Errorf("%s: %s is in namespace %q", file, o.GetName(), ns)
			}
			out[kind.Kind+"/"+o.GetName()] = o
		}
	}
	return out
}

// decodeStrictly decodes as an API server with strict field validation does:
// keys are known, written in the right case, and there once.
func decodeStrictly(doc []byte, into any) error {
	text, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(strict, err)...)
}

func find[T meta.Object](t *testing.T, all map[string]meta.Object, name string) T {
	t.Helper()
	o, ok := all[name].(T)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return o
}

type workload struct {
	selector *meta.LabelSelector
	template core.PodTemplateSpec
}

func workloads(t *testing.T, all map[string]meta.Object) map[string]workload {
	t.Helper()
	cpu, gpu := find[*apps.Deployment](t, all, "Deployment/plancast-cpu"), find[*apps.DaemonSet](t, all, "DaemonSet/plancast-gpu")
	if *cpu.Spec.Replicas != 1 || cpu.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Error("two exporters would share a state folder: want one replica, and Recreate")
	}
	return map[string]workload{"Deployment": {cpu.Spec.Selector, cpu.Spec.Template}, "DaemonSet": {gpu.Spec.Selector, gpu.Spec.Template}}
}

func TestManifestsFitTogether(t *testing.T) {
	all := manifests(t)
	service := find[*core.Service](t, all, "Service/plancast")
	monitor := find[*monitoring.ServiceMonitor](t, all, "ServiceMonitor/plancast")
	matches := func(what string, s *meta.LabelSelector, of map[string]string) {
		t.Helper()
		selector, err := meta.LabelSelectorAsSelector(s)
		if err != nil || !selector.Matches(labels.Set(of)) {
			t.Errorf("%s selects %v, which does not fit %v (%v)", what, s, of, err)
		}
	}
	matches("the ServiceMonitor", &monitor.Spec.Selector, service.Labels)
	if monitor.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
		t.Error("the ServiceMonitor scrapes a port that the Service does not have")
	}
	matched := map[string]map[string]string{}
	for name, w := range workloads(t, all) {
		of := w.template.Labels
		matches(name, w.selector, of)
		matches("the Service", &meta.LabelSelector{MatchLabels: service.Spec.Selector}, of)
		for other, l := range matched {
			selector, err := meta.LabelSelectorAsSelector(w.selector)
			if err != nil || selector.Matches(labels.Set(l)) {
				t.Errorf("%s also takes the pods of %s (%v)", name, other, err)
			}
		}
		matched[name] = of

		spec := w.template.Spec
		volumes := map[string]bool{}
		for _, v := range spec.Volumes {
			volumes[v.Name] = true
			if c := v.PersistentVolumeClaim; c != nil {
				find[*core.PersistentVolumeClaim](t, all, "PersistentVolumeClaim/"+c.ClaimName)
			}
			if c := v.ConfigMap; c != nil {
				find[*core.ConfigMap](t, all, "ConfigMap/"+c.Name)
			}
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			for _, m := range c.VolumeMounts {
				if !volumes[m.Name] {
					t.Errorf("%s: %s mounts %s, which is no volume", name, c.Name, m.Name)
				}
			}
			if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
				t.Errorf("%s: %s may do more than it needs", name, c.Name)
			}
		}
		c := spec.Containers[0]
		if c.Ports[0].Name != service.Spec.Ports[0].TargetPort.StrVal || c.ReadinessProbe.HTTPGet.Path != "/-/ready" || c.LivenessProbe.HTTPGet.Path != "/-/healthy" {
			t.Errorf("%s: ports or probes do not fit", name)
		}
		if fmt.Sprint(c.Resources.Requests) != fmt.Sprint(c.Resources.Limits) {
			t.Errorf("%s: requests and limits differ, so the cores are not its own", name)
		}
	}
	config := find[*core.ConfigMap](t, all, "ConfigMap/plancast")
	if !strings.Contains(config.Data["plancast.yml"], "state: /var/lib/plancast\n") {
		t.Error("the state is not on the volume")
	}
}

// The policy holds for every exporter, lets Prometheus scrape it, and lets none
// reach the cluster or the cloud's metadata service.
func TestNetworkPolicyHoldsForEveryExporter(t *testing.T) {
	all := manifests(t)
	p := find[*networking.NetworkPolicy](t, all, "NetworkPolicy/plancast").Spec
	for name, w := range workloads(t, all) {
		selector, err := meta.LabelSelectorAsSelector(&p.PodSelector)
		if err != nil || !selector.Matches(labels.Set(w.template.Labels)) {
			t.Errorf("it does not hold for %s (%v)", name, err)
		}
		if port := w.template.Spec.Containers[0].Ports[0].Name; p.Ingress[0].Ports[0].Port.StrVal != port {
			t.Errorf("it opens %v of %s; want %s", p.Ingress[0].Ports[0].Port, name, port)
		}
	}
	if !slices.Contains(p.PolicyTypes, networking.PolicyTypeIngress) || !slices.Contains(p.PolicyTypes, networking.PolicyTypeEgress) || len(p.Ingress) != 1 {
		t.Errorf("it holds for %v, with %d ways in", p.PolicyTypes, len(p.Ingress))
	}
	for _, e := range p.Egress {
		for _, to := range e.To {
			if b := to.IPBlock; b != nil && b.CIDR == "0.0.0.0/0" {
				for _, closed := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} {
					if !slices.Contains(b.Except, closed) {
						t.Errorf("an exporter may reach %s", closed)
					}
				}
			}
		}
		if len(e.To) == 0 {
			t.Error("an exporter may reach everything")
		}
	}
}

// The policy of the fleet daemon holds for it alone, lets Prometheus scrape it, and lets
// it reach name servers and the store that its configuration names.
func TestTheFleetDaemonReachesItsStoreAlone(t *testing.T) {
	all := manifests(t)
	p := find[*networking.NetworkPolicy](t, all, "NetworkPolicy/plancast-fleet").Spec
	fleet := find[*apps.Deployment](t, all, "Deployment/plancast-fleet").Spec.Template
	selector, err := meta.LabelSelectorAsSelector(&p.PodSelector)
	if err != nil || !selector.Matches(labels.Set(fleet.Labels)) {
		t.Errorf("it does not hold for the fleet daemon (%v)", err)
	}
	for name, w := range workloads(t, all) {
		if selector.Matches(labels.Set(w.template.Labels)) {
			t.Errorf("it holds for %s as well", name)
		}
	}
	if !slices.Contains(p.PolicyTypes, networking.PolicyTypeIngress) || !slices.Contains(p.PolicyTypes, networking.PolicyTypeEgress) {
		t.Errorf("it holds for %v", p.PolicyTypes)
	}
	if port := fleet.Spec.Containers[0].Ports[0].Name; len(p.Ingress) != 1 || p.Ingress[0].Ports[0].Port.StrVal != port {
		t.Errorf("its ways in are %+v; want one, to %s", p.Ingress, port)
	}
	address := regexp.MustCompile(`url: http://[^.]+\.([^.]+)\.svc:(\d+)`).FindStringSubmatch(find[*core.ConfigMap](t, all, "ConfigMap/plancast-fleet").Data["plancast.yml"])
	if address == nil {
		t.Fatal("its configuration names no store of the cluster")
	}
	reached := map[string]bool{} // namespace:port
	for _, e := range p.Egress {
		if len(e.To) == 0 || len(e.Ports) == 0 {
			t.Error("it may reach everything")
		}
		for _, to := range e.To {
			for _, port := range e.Ports {
				reached[to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]+":"+port.Port.String()] = true
			}
		}
	}
	want := map[string]bool{"kube-system:53": true, address[1] + ":" + address[2]: true}
	if !maps.Equal(reached, want) {
		t.Errorf("it may reach %v; want %v", reached, want)
	}
}

// A fleet daemon keeps nothing, is scraped under a name that outlives its pod, and
// is none of the exporters.
func TestTheFleetDaemonFitsTogether(t *testing.T) {
	all := manifests(t)
	fleet := find[*apps.Deployment](t, all, "Deployment/plancast-fleet")
	monitor := find[*monitoring.ServiceMonitor](t, all, "ServiceMonitor/plancast-fleet")
	service := find[*core.Service](t, all, "Service/plancast-fleet")
	for what, s := range map[string]struct{ selector, of map[string]string }{
		"the Deployment":     {fleet.Spec.Selector.MatchLabels, fleet.Spec.Template.Labels},
		"the Service":        {service.Spec.Selector, fleet.Spec.Template.Labels},
		"the ServiceMonitor": {monitor.Spec.Selector.MatchLabels, service.Labels},
	} {
		if !labels.SelectorFromSet(s.selector).Matches(labels.Set(s.of)) {
			t.Errorf("%s selects %v, which does not fit %v", what, s.selector, s.of)
		}
	}
	exporters := find[*core.Service](t, all, "Service/plancast").Spec.Selector
	if labels.SelectorFromSet(exporters).Matches(labels.Set(fleet.Spec.Template.Labels)) {
		t.Error("the exporters' Service takes the fleet daemon for one of them")
	}
	for _, v := range fleet.Spec.Template.Spec.Volumes {
		if v.ConfigMap == nil {
			t.Errorf("it has the volume %s", v.Name)
			continue
		}
		if c := find[*core.ConfigMap](t, all, "ConfigMap/"+v.ConfigMap.Name); !strings.Contains(c.Data["plancast.yml"], "prometheus:") {
			t.Error("its configuration names no store")
		}
	}
	set := map[string]string{}
	for _, r := range monitor.Spec.Endpoints[0].RelabelConfigs {
		if r.Replacement != nil {
			set[r.TargetLabel] = *r.Replacement
		}
	}
	if set["job"] != "plancast" || set["instance"] != "fleet" {
		t.Errorf("it is scraped as %v", set)
	}
}

// The job's name is what the rules know, and instance has to outlive a pod.
func TestServiceMonitorNamesJobAndInstance(t *testing.T) {
	monitor := find[*monitoring.ServiceMonitor](t, manifests(t), "ServiceMonitor/plancast")
	set := map[string]string{}
	for _, r := range monitor.Spec.Endpoints[0].RelabelConfigs {
		value := fmt.Sprint(r.SourceLabels)
		if r.Replacement != nil {
			value = *r.Replacement
		}
		set[r.TargetLabel] = value
	}
	if set["job"] != "plancast" || !strings.Contains(set["instance"], "node_name") {
		t.Errorf("job is %q and instance %q; want plancast, and something of the node", set["job"], set["instance"])
	}
}

func TestGeneratedManifestsAreCurrent(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "kubernetes/generate.sh", "--check").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	all := manifests(t)
	for _, name := range []string{"milestones", "engines", "gpu"} {
		m := find[*core.ConfigMap](t, all, "ConfigMap/plancast-dashboard-"+name)
		want, err := os.ReadFile(filepath.Join(root, "dashboards", name+".json"))
		if got := m.Data["plancast-"+name+".json"]; err != nil || strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
			t.Errorf("the dashboard %s arrives with %d bytes; want %d (%v)", name, len(got), len(want), err)
		}
	}
	rules := find[*monitoring.PrometheusRule](t, all, "PrometheusRule/plancast")
	n := 0
	for _, g := range rules.Spec.Groups {
		n += len(g.Rules)
	}
	if n < 25 {
		t.Errorf("%d rules arrive; want all", n)
	}
}
