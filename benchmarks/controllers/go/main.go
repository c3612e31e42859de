// The reference job as an idiomatic controller-runtime program: cached reads, server-side apply with a field manager,
// children written only when they no longer cover what the spec asks for, status written only when it says something new.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	acapps "k8s.io/client-go/applyconfigurations/apps/v1"
	accore "k8s.io/client-go/applyconfigurations/core/v1"
	acmeta "k8s.io/client-go/applyconfigurations/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	manager    = "fastcore"
	nameLabel  = "app.kubernetes.io/name"
	configHash = "apps.fastcore.dev/config-hash"
)

type reconciler struct {
	client.Client
}

// Reconcile brings one WebApp's children and status in order.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var app WebApp
	if err := r.Get(ctx, request.NamespacedName, &app); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !app.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	synced := meta.FindStatusCondition(app.Status.Conditions, "Synced")
	changed := synced == nil || synced.Status != metav1.ConditionTrue || synced.ObservedGeneration != app.Generation

	var settings corev1.ConfigMap
	if err := r.Get(ctx, request.NamespacedName, &settings); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if changed || !owned(&settings, &app) || !equality.Semantic.DeepEqual(settings.Data, app.Spec.Config) {
		if err := r.apply(ctx, configMapOf(&app)); err != nil {
			return ctrl.Result{}, err
		}
	}
	var deployment appsv1.Deployment
	if err := r.Get(ctx, request.NamespacedName, &deployment); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if changed || !owned(&deployment, &app) || !covers(&deployment, &app) {
		if err := r.apply(ctx, deploymentOf(&app)); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, r.report(ctx, &app, deployment.Status.ReadyReplicas)
}

func (r *reconciler) apply(ctx context.Context, object runtime.ApplyConfiguration) error {
	return r.Apply(ctx, object, client.FieldOwner(manager), client.ForceOwnership)
}

func (r *reconciler) report(ctx context.Context, app *WebApp, ready int32) error {
	before := app.DeepCopyObject().(*WebApp)
	phase, status, reason := "Progressing", metav1.ConditionFalse, "RollingOut"
	if ready >= app.Spec.Replicas {
		phase, status, reason = "Ready", metav1.ConditionTrue, "ReplicasReady"
	}
	app.Status.ObservedGeneration, app.Status.Phase, app.Status.ReadyReplicas = app.Generation, phase, ready
	meta.SetStatusCondition(&app.Status.Conditions, metav1.Condition{
		Type: "Synced", Status: metav1.ConditionTrue, ObservedGeneration: app.Generation, Reason: "InOrder",
		Message: "ConfigMap and Deployment are as the spec says",
	})
	meta.SetStatusCondition(&app.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: status, ObservedGeneration: app.Generation, Reason: reason,
		Message: fmt.Sprintf("%d of %d replicas are ready", ready, app.Spec.Replicas),
	})
	if equality.Semantic.DeepEqual(before.Status, app.Status) {
		return nil
	}
	return r.Status().Patch(ctx, app, client.MergeFrom(before), client.FieldOwner(manager))
}

func owned(object client.Object, app *WebApp) bool {
	return metav1.IsControlledBy(object, app) && object.GetLabels()[nameLabel] == app.Name
}

func covers(deployment *appsv1.Deployment, app *WebApp) bool {
	spec := deployment.Spec
	if spec.Replicas == nil || *spec.Replicas != app.Spec.Replicas || len(spec.Template.Spec.Containers) != 1 {
		return false
	}
	container := spec.Template.Spec.Containers[0]
	if container.Image != app.Spec.Image || len(container.Ports) != len(app.Spec.Ports) {
		return false
	}
	for i, port := range app.Spec.Ports {
		if container.Ports[i].Name != port.Name || container.Ports[i].ContainerPort != port.Port {
			return false
		}
	}
	return spec.Template.Annotations[configHash] == hashOf(app.Spec.Config)
}

func ownerOf(app *WebApp) *acmeta.OwnerReferenceApplyConfiguration {
	return acmeta.OwnerReference().WithAPIVersion(groupVersion.String()).WithKind("WebApp").WithName(app.Name).
		WithUID(app.UID).WithController(true).WithBlockOwnerDeletion(true)
}

func configMapOf(app *WebApp) *accore.ConfigMapApplyConfiguration {
	return accore.ConfigMap(app.Name, app.Namespace).WithLabels(map[string]string{nameLabel: app.Name}).
		WithOwnerReferences(ownerOf(app)).WithData(app.Spec.Config)
}

func deploymentOf(app *WebApp) *acapps.DeploymentApplyConfiguration {
	labels := map[string]string{nameLabel: app.Name}
	container := accore.Container().WithName("app").WithImage(app.Spec.Image).WithEnvFrom(
		accore.EnvFromSource().WithConfigMapRef(accore.ConfigMapEnvSource().WithName(app.Name)))
	for _, port := range app.Spec.Ports {
		container.WithPorts(accore.ContainerPort().WithName(port.Name).WithContainerPort(port.Port).
			WithProtocol(corev1.ProtocolTCP))
	}
	return acapps.Deployment(app.Name, app.Namespace).WithLabels(labels).WithOwnerReferences(ownerOf(app)).
		WithSpec(acapps.DeploymentSpec().WithReplicas(app.Spec.Replicas).
			WithSelector(acmeta.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(accore.PodTemplateSpec().WithLabels(labels).
				WithAnnotations(map[string]string{configHash: hashOf(app.Spec.Config)}).
				WithSpec(accore.PodSpec().WithContainers(container))))
}

// hashOf is the same in every language: SHA-256 of the JSON with sorted keys, without blanks and escapes.
func hashOf(config map[string]string) string {
	if config == nil {
		config = map[string]string{}
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(config); err != nil {
		panic(err) // strings can always be encoded
	}
	sum := sha256.Sum256(bytes.TrimSuffix(buffer.Bytes(), []byte("\n")))
	return hex.EncodeToString(sum[:])[:32]
}

func run() error {
	workers := flag.Int("workers", 4, "reconciles at once")
	flag.Parse() // controller-runtime has added --kubeconfig
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, addToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the server's own flow control decides, as for every other controller here
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(mgr).For(&WebApp{}).Owns(&corev1.ConfigMap{}).Owns(&appsv1.Deployment{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: *workers}).
		Complete(&reconciler{mgr.GetClient()})
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "webapp controller:", err)
		os.Exit(1)
	}
}
