// Kubebox is a Kubernetes control plane for the lab: one upstream component per process.
//
//	kubebox etcd DIR URL       a single etcd member, without fsync; prints "ready"
//	kubebox apiserver FLAGS    kube-apiserver
//	kubebox controllers FLAGS  kube-controller-manager
//	kubebox scheduler FLAGS    kube-scheduler
//	kubebox kubectl ARGS       kubectl, for machines that have none
//
// It copies no upstream code: it requires the modules and runs their commands. One component per
// process, because they share global feature gates and metric registries.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = "usage: kubebox etcd DIR URL | apiserver FLAGS | controllers FLAGS | scheduler FLAGS | kubectl ARGS"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	component := os.Args[1]
	// The upstream commands read os.Args themselves: show them their own name first.
	os.Args = append([]string{component}, os.Args[2:]...)
	switch component {
	case "etcd":
		if err := runEtcd(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "kubebox etcd:", err)
			os.Exit(1)
		}
	case "apiserver":
		run(apiserver.NewAPIServerCommand())
	case "controllers":
		run(controllers.NewControllerManagerCommand())
	case "scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kubectl":
		command := kubectl.NewDefaultKubectlCommand()
		if err := cli.RunNoErrOutput(command); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "kubebox: no component %q\n%s\n", component, usage)
		os.Exit(2)
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}
